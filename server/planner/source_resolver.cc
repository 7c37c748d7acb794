#include "server/planner/source_resolver.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr absl::string_view kField = "source.server_path";
constexpr size_t kMaxPathBytes = 4096;

bool IsInside(absl::string_view path, absl::string_view root) {
  if (root == "/") return absl::StartsWith(path, "/");
  return path == root ||
         (absl::ConsumePrefix(&path, root) && absl::StartsWith(path, "/"));
}

// Without "." and "..", and without a slash at the end.
std::string Normal(const std::string& path) {
  std::string out = std::filesystem::path(path).lexically_normal().string();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

absl::Status NotAllowed(absl::string_view path) {
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kSourceNotAllowed,
      absl::StrCat("source \"", path,
                   "\" is not inside a model root of the server (quantd "
                   "--model-root); put it under one, or upload it"),
      kField);
}

absl::Status Missing(absl::string_view path) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   Reason::kSourceMissing,
                   absl::StrCat("source \"", path,
                                "\": there is no such file or directory that "
                                "the server can read"),
                   kField);
}

absl::Status CheckSpelling(const std::string& path) {
  if (path.empty()) return InvalidSpec("server_path is empty", kField);
  if (path.size() > kMaxPathBytes) {
    return InvalidSpec(absl::StrCat("server_path has ", path.size(),
                                    " bytes; at most ", kMaxPathBytes),
                       kField);
  }
  if (path.find('\0') != std::string::npos) {
    return InvalidSpec("server_path contains a NUL byte", kField);
  }
  return absl::OkStatus();
}

// The files that OpenModel may read headers or settings from.
bool IsReadAsModel(absl::string_view name) {
  return absl::EndsWith(name, ".safetensors") ||
         absl::EndsWith(name, ".gguf") || absl::EndsWith(name, ".json") ||
         absl::EndsWith(name, ".model");
}

}  // namespace

absl::StatusOr<SourceResolver> SourceResolver::Create(
    const std::vector<std::string>& roots) {
  std::vector<Root> out;
  for (const std::string& root : roots) {
    QUANT_ASSIGN_OR_RETURN(std::string real, ResolvePath(root));
    if (!IsDirectory(real)) {
      return InvalidSpec(
          absl::StrCat("model root \"", root, "\" is not a directory"));
    }
    std::string given = std::filesystem::absolute(root).string();
    out.push_back({.given = Normal(given), .real = std::move(real)});
  }
  return SourceResolver(std::move(out));
}

bool SourceResolver::Inside(const std::string& real_path) const {
  for (const Root& root : roots_) {
    if (IsInside(real_path, root.real)) return true;
  }
  return false;
}

bool SourceResolver::LooksInside(const std::string& path) const {
  const std::string normal = Normal(path);
  for (const Root& root : roots_) {
    if (IsInside(normal, root.real) || IsInside(normal, root.given)) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<std::string> SourceResolver::Resolve(
    const std::string& path) const {
  QUANT_RETURN_IF_ERROR(CheckSpelling(path));
  std::vector<std::string> candidates;
  if (path.front() == '/') {
    candidates.push_back(path);
  } else {
    for (const Root& root : roots_) {
      candidates.push_back(JoinPath(root.real, path));
    }
  }
  bool outside = candidates.empty();
  for (const std::string& candidate : candidates) {
    absl::StatusOr<std::string> real = ResolvePath(candidate);
    if (real.ok() && Inside(*real)) return *std::move(real);
    // An outsider learns nothing about what exists out there.
    if (real.ok() || !LooksInside(candidate)) outside = true;
  }
  return outside ? NotAllowed(path) : Missing(path);
}

absl::Status SourceResolver::CheckLinks(const std::string& real_path) const {
  if (!IsDirectory(real_path)) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(std::vector<DirEntry> entries,
                         ListDirectory(real_path));
  for (const DirEntry& entry : entries) {
    if (!IsReadAsModel(entry.name)) continue;
    absl::StatusOr<std::string> real =
        ResolvePath(JoinPath(real_path, entry.name));
    // A dangling link is for OpenModel to complain about.
    if (real.ok() && !Inside(*real)) return NotAllowed(entry.name);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SourceIdentity(const std::string& real_path) {
  std::string out = real_path;
  auto add = [&out](const std::string& path, absl::string_view name) {
    absl::StatusOr<FileIdentity> id = IdentityOf(path);
    // A dangling link is part of the state, too.
    if (!id.ok()) {
      absl::StrAppend(&out, "\n", name, " -");
      return;
    }
    absl::StrAppend(&out, "\n", name, " ", id->size_bytes, " ", id->mtime_ns,
                    " ", id->inode);
  };
  add(real_path, ".");
  if (!IsDirectory(real_path)) return out;
  QUANT_ASSIGN_OR_RETURN(std::vector<DirEntry> entries,
                         ListDirectory(real_path));
  for (const DirEntry& entry : entries) {
    add(JoinPath(real_path, entry.name), entry.name);
  }
  return out;
}

}  // namespace quant

#include "server/store/artifact_files.h"

#include <sys/stat.h>

#include <cerrno>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// An artifact is a few levels deep; more is somebody's game.
constexpr int kMaxDepth = 64;

absl::Status Mismatch(absl::string_view path, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
                   absl::StrCat(path, ": ", what));
}

// All regular files below `root`, relative, with their sizes.
absl::Status ListTree(const std::string& root, const std::string& prefix,
                      int depth, std::map<std::string, int64_t>& out) {
  if (depth > kMaxDepth) return Mismatch(prefix, "too many levels");
  QUANT_ASSIGN_OR_RETURN(const auto entries,
                         ListDirectory(JoinPath(root, prefix)));
  for (const DirEntry& entry : entries) {
    const std::string path = JoinPath(prefix, entry.name);
    struct stat info;
    if (::lstat(JoinPath(root, path).c_str(), &info) != 0) {
      return ErrnoError(errno, path);
    }
    if (S_ISDIR(info.st_mode)) {
      QUANT_RETURN_IF_ERROR(ListTree(root, path, depth + 1, out));
    } else if (S_ISREG(info.st_mode)) {
      out[path] = info.st_size;
    } else {
      return Mismatch(path, "is no regular file");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckArtifactFiles(const std::string& directory,
                                const std::vector<StoredFile>& files) {
  std::map<std::string, int64_t> found;
  QUANT_RETURN_IF_ERROR(ListTree(directory, "", 0, found));
  for (const StoredFile& file : files) {
    const auto it = found.find(file.path);
    if (it == found.end()) return Mismatch(file.path, "promised, not there");
    if (it->second != file.size_bytes) {
      return Mismatch(file.path,
                      absl::StrCat("is ", it->second, " bytes; ",
                                   file.size_bytes, " were promised"));
    }
    // A record with a malformed digest could not be read back.
    if (!IsSha256Hex(file.sha256)) return Mismatch(file.path, "has no SHA-256");
    found.erase(it);
  }
  if (found.empty()) return absl::OkStatus();
  return Mismatch(found.begin()->first, "was not promised");
}

int64_t TreeBytes(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) return 0;
  if (S_ISREG(info.st_mode)) return info.st_size;
  if (!S_ISDIR(info.st_mode)) return 0;
  int64_t total = 0;
  const auto entries = ListDirectory(path);
  if (!entries.ok()) return 0;
  for (const DirEntry& entry : *entries) {
    total += TreeBytes(JoinPath(path, entry.name));
  }
  return total;
}

bool IsBelow(const std::string& path, const std::string& parent) {
  const auto resolved = ResolvePath(path);
  const auto root = ResolvePath(parent);
  return resolved.ok() && root.ok() &&
         absl::StartsWith(*resolved, absl::StrCat(*root, "/"));
}

}  // namespace quant

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/library/upload.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr absl::string_view kWeightSuffixes[] = {".safetensors", ".gguf"};

// Side files by exact name, lower case.
constexpr absl::string_view kNames[] = {
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "tokenizer.model.v3",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "chat_template.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "processor_config.json",
    "readme.md",
    // Not of a model, but uploaded like one: what `calibrate --statistics`
    // wrote.
    "statistics.json",
};

// Side files by beginning, lower case: "LICENSE", "LICENSE.txt", "NOTICE", ...
constexpr absl::string_view kPrefixes[] = {"license", "licence", "notice",
                                           "copying", "use_policy"};

bool IsWeights(absl::string_view name) {
  return absl::EndsWith(name, kWeightSuffixes[0]) ||
         absl::EndsWith(name, kWeightSuffixes[1]);
}

absl::Status NoWeights(const std::string& path) {
  return MakeError(
      absl::StatusCode::kNotFound, Reason::kSourceMissing,
      absl::StrCat(path,
                   ": no model here; a model is a directory "
                   "with *.safetensors or *.gguf, or such a file"));
}

}  // namespace

bool IsModelFileName(absl::string_view name) {
  if (absl::StartsWith(name, ".")) return false;
  if (IsWeights(name) || absl::EndsWith(name, ".tiktoken")) return true;
  const std::string lower = absl::AsciiStrToLower(name);
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](absl::string_view known) { return lower == known; }) ||
         std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](absl::string_view prefix) {
                       return absl::StartsWith(lower, prefix);
                     });
}

absl::StatusOr<std::vector<LocalFile>> ListModelFiles(const std::string& path) {
  if (!PathExists(path)) return NoWeights(path);
  std::vector<LocalFile> files;
  if (!IsDirectory(path)) {
    if (!IsWeights(path)) return NoWeights(path);
    QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(path));
    const size_t slash = path.rfind('/');
    files.push_back({slash == std::string::npos ? path : path.substr(slash + 1),
                     path, identity.size_bytes});
    return files;
  }
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(path));
  bool weights = false;
  for (const DirEntry& entry : entries) {
    if (!entry.is_regular || !IsModelFileName(entry.name)) continue;
    weights |= IsWeights(entry.name);
    files.push_back({entry.name, JoinPath(path, entry.name), entry.size_bytes});
  }
  if (!weights) return NoWeights(path);
  if (static_cast<int64_t>(files.size()) > kMaxUploadFiles) {
    return InvalidSpec(absl::StrCat(path, ": ", files.size(),
                                    " files; at most ", kMaxUploadFiles));
  }
  return files;
}

}  // namespace quant

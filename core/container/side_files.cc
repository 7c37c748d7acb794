#include "core/container/side_files.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr absl::string_view kExactNames[] = {
    "README.md",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "image_processor_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "video_preprocessor_config.json",
};

// A prefix in lower case, and the endings that may follow. Endings keep code
// (tokenizer.py) and weights (LICENSE.bin) out.
struct Family {
  absl::string_view prefix;
  bool any_case;
  absl::Span<const absl::string_view> endings;
};

constexpr absl::string_view kTokenizerEndings[] = {".json", ".model", ".txt"};
constexpr absl::string_view kVocabEndings[] = {".json", ".txt", ".bpe"};
constexpr absl::string_view kTextEndings[] = {"",     ".txt",  ".md",
                                              ".pdf", ".html", ".rst"};

constexpr Family kFamilies[] = {
    {"tokenizer", false, kTokenizerEndings}, {"vocab", false, kVocabEndings},
    {"license", true, kTextEndings},         {"licence", true, kTextEndings},
    {"notice", true, kTextEndings},          {"use_policy", true, kTextEndings},
};

absl::string_view Ending(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? absl::string_view()
                                        : name.substr(dot);
}

// What links of the model may point into. A snapshot of a Hugging Face cache
// (<model>/snapshots/<revision>) links to <model>/blobs.
std::string HomeOf(const std::string& directory) {
  const std::string parent = ParentPath(directory);
  return absl::EndsWith(parent, "/snapshots") ? ParentPath(parent) : directory;
}

}  // namespace

bool IsSideFileName(absl::string_view name) {
  for (absl::string_view exact : kExactNames) {
    if (name == exact) return true;
  }
  const std::string lower = absl::AsciiStrToLower(name);
  for (const Family& family : kFamilies) {
    const absl::string_view compared = family.any_case ? lower : name;
    if (!absl::StartsWith(compared, family.prefix)) continue;
    for (absl::string_view ending : family.endings) {
      if (Ending(compared) == ending) return true;
    }
  }
  // Mistral numbers its SentencePiece files: tokenizer.model.v3.
  return absl::StartsWith(name, "tokenizer.model.v");
}

absl::StatusOr<std::string> ResolveInsideModel(const std::string& directory,
                                               absl::string_view name) {
  QUANT_ASSIGN_OR_RETURN(std::string path,
                         ResolvePath(JoinPath(directory, name)));
  const std::string home = HomeOf(directory);
  if (home == "/" || absl::StartsWith(path, absl::StrCat(home, "/"))) {
    return path;
  }
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   Reason::kSourceNotAllowed,
                   absl::StrCat(JoinPath(directory, name),
                                ": is a link out of the model's folder; copy "
                                "the file there"));
}

absl::StatusOr<std::vector<SideFile>> FindSideFiles(
    const std::string& directory, absl::Span<const DirEntry> entries) {
  std::vector<SideFile> files;
  for (const DirEntry& entry : entries) {
    if (!entry.is_regular || !IsSideFileName(entry.name)) continue;
    QUANT_ASSIGN_OR_RETURN(std::string path,
                           ResolveInsideModel(directory, entry.name));
    if (entry.size_bytes > kMaxSideFileBytes ||
        static_cast<int64_t>(files.size()) >= kMaxSideFiles) {
      return MakeError(
          absl::StatusCode::kResourceExhausted, Reason::kModelMalformed,
          absl::StrCat(JoinPath(directory, entry.name), ": has ",
                       entry.size_bytes, " bytes; at most ", kMaxSideFileBytes,
                       " in each of at most ", kMaxSideFiles,
                       " files beside the weights are carried along"));
    }
    files.push_back({.name = entry.name,
                     .path = std::move(path),
                     .size_bytes = entry.size_bytes});
  }
  return files;
}

}  // namespace quant

#include "core/tokenizer/dataset.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/container/json_tree.h"
#include "core/tokenizer/id_files.h"
#include "core/tokenizer/unicode.h"

namespace quant {
namespace {

using Json = nlohmann::json;

// Of a hundred tokens.
constexpr int64_t kMaxUnknownPercent = 1;

absl::Status CheckIsText(absl::string_view text) {
  const size_t nul = text.find('\0');
  if (nul != absl::string_view::npos) {
    return InvalidSpec(
        absl::StrCat("byte ", nul,
                     " is NUL: the file is binary; text is UTF-8, token ids "
                     "are in .npy or .safetensors files"));
  }
  if (const auto bad = FirstInvalidUtf8(text)) {
    return InvalidSpec(absl::StrCat("byte ", *bad,
                                    " is not UTF-8, which is what text must "
                                    "be"));
  }
  return absl::OkStatus();
}

// The text of {"messages": [...]}, in the layout of dataset.h.
absl::StatusOr<std::string> TextOfMessages(const Json& messages) {
  std::string out;
  if (!messages.is_array() ||
      static_cast<int64_t>(messages.size()) > kMaxMessages) {
    return InvalidSpec(
        absl::StrCat("\"messages\" is no list of at most ", kMaxMessages));
  }
  for (const Json& message : messages) {
    const bool complete = message.is_object() && message.contains("role") &&
                          message["role"].is_string() &&
                          message.contains("content") &&
                          message["content"].is_string();
    if (!complete) {
      return InvalidSpec("a message has no texts \"role\" and \"content\"");
    }
    absl::StrAppend(&out, out.empty() ? "" : "\n\n",
                    message["role"].get_ref<const std::string&>(), ":\n",
                    message["content"].get_ref<const std::string&>());
  }
  return out;
}

absl::StatusOr<std::string> TextOfLine(absl::string_view line) {
  QUANT_ASSIGN_OR_RETURN(const Json object, ParseJsonTree(line));
  if (object.is_object()) {
    const auto text = object.find("text");
    if (text != object.end() && text->is_string()) {
      return text->get<std::string>();
    }
    const auto messages = object.find("messages");
    if (messages != object.end()) return TextOfMessages(*messages);
  }
  return InvalidSpec("has neither \"text\" nor \"messages\"");
}

// Fills a data set from documents or from ids.
class Packer {
 public:
  // `tokenizer` is null for ids, which are taken as they are.
  Packer(const Tokenizer* tokenizer, const DatasetOptions& options)
      : tokenizer_(tokenizer), options_(options) {
    data_.sequence_length = options.sequence_length;
  }

  absl::Status Begin() {
    if (options_.sequence_length < 2 ||
        options_.sequence_length > kMaxSequenceLength) {
      return InvalidSpec(
          absl::StrCat("sequence length: ", options_.sequence_length, "; 2 to ",
                       kMaxSequenceLength, " are allowed"));
    }
    if (options_.bos == BosPolicy::kSequence && tokenizer_ != nullptr &&
        tokenizer_->bos() < 0) {
      return InvalidSpec(
          "the tokenizer names no token that begins a text, which --bos "
          "sequence needs");
    }
    return absl::OkStatus();
  }

  // Whether nothing more is needed.
  bool full() const {
    return options_.max_sequences > 0 && Count() >= options_.max_sequences;
  }

  absl::Status AddText(absl::string_view text) {
    QUANT_ASSIGN_OR_RETURN(const Encoding encoding, tokenizer_->Encode(text));
    ++data_.documents;
    data_.unknown += encoding.unknown;
    const bool framed = options_.bos == BosPolicy::kDocument;
    if (framed) Append(tokenizer_->frame().before);
    Append(encoding.ids);
    if (framed) Append(tokenizer_->frame().after);
    return absl::OkStatus();
  }

  void AddIds(absl::Span<const int32_t> ids) { Append(ids); }

  absl::StatusOr<Dataset> Finish() {
    QUANT_RETURN_IF_ERROR(CheckIds());
    QUANT_RETURN_IF_ERROR(CheckUnknown());
    data_.sequences = Count();
    if (options_.max_sequences > 0) {
      data_.sequences = std::min(data_.sequences, options_.max_sequences);
    }
    if (data_.sequences == 0) {
      return InvalidSpec(absl::StrCat(
          data_.tokens, " tokens; a sequence has ", options_.sequence_length,
          "; a smaller sequence length or more text is needed"));
    }
    Cut();
    Sha256 sha;
    sha.Update(absl::StrCat("quant-ids-v1 ", data_.sequences, " ",
                            data_.sequence_length, "\n"));
    sha.Update(
        absl::string_view(reinterpret_cast<const char*>(data_.ids.data()),
                          data_.ids.size() * sizeof(int32_t)));
    data_.digest = sha.Finish();
    return std::move(data_);
  }

 private:
  bool begins_each() const {
    return options_.bos == BosPolicy::kSequence && tokenizer_ != nullptr;
  }
  // Tokens of the data in one sequence.
  int64_t Room() const {
    return options_.sequence_length - (begins_each() ? 1 : 0);
  }
  int64_t Count() const {
    return static_cast<int64_t>(data_.ids.size()) / Room();
  }

  void Append(absl::Span<const int32_t> ids) {
    data_.ids.insert(data_.ids.end(), ids.begin(), ids.end());
    data_.tokens += static_cast<int64_t>(ids.size());
  }

  absl::Status CheckIds() const {
    if (options_.vocabulary == 0) return absl::OkStatus();
    for (size_t i = 0; i < data_.ids.size(); ++i) {
      if (data_.ids[i] < options_.vocabulary) continue;
      return InvalidSpec(absl::StrCat("token ", i, ": id ", data_.ids[i],
                                      "; the model has a vocabulary of ",
                                      options_.vocabulary));
    }
    return absl::OkStatus();
  }

  absl::Status CheckUnknown() const {
    if (data_.unknown * 100 <= data_.tokens * kMaxUnknownPercent) {
      return absl::OkStatus();
    }
    return InvalidSpec(absl::StrCat(
        data_.unknown, " characters are unknown to the tokenizer, beside ",
        data_.tokens, " tokens; at most ", kMaxUnknownPercent,
        " in 100 is allowed; is it text for this model?"));
  }

  // The ids of the sequences, and what belongs before each of them.
  void Cut() {
    data_.ids.resize(data_.sequences * Room());
    if (!begins_each()) return;
    std::vector<int32_t> cut;
    cut.reserve(data_.sequences * data_.sequence_length);
    for (size_t i = 0; i < data_.ids.size(); ++i) {
      if (static_cast<int64_t>(i) % Room() == 0)
        cut.push_back(tokenizer_->bos());
      cut.push_back(data_.ids[i]);
    }
    data_.ids = std::move(cut);
  }

  const Tokenizer* tokenizer_;
  const DatasetOptions& options_;
  Dataset data_;
};

absl::Status AddLines(absl::string_view text, Packer& packer) {
  int64_t line_number = 0;
  while (!text.empty() && !packer.full()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const absl::string_view line =
        absl::StripAsciiWhitespace(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.empty()) continue;
    const std::string where = absl::StrCat("line ", line_number);
    const auto document = TextOfLine(line);
    if (!document.ok()) {  // the text's fault, not the model's
      return InvalidSpec(
          absl::StrCat(where, ": ", document.status().message()));
    }
    const absl::Status added = packer.AddText(*document);
    if (!added.ok()) return Annotate(added, where);
  }
  return absl::OkStatus();
}

absl::Status AddFile(const std::string& path, Packer& packer) {
  if (!HoldsText(path)) {
    QUANT_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIdFile(path));
    packer.AddIds(ids);
    return absl::OkStatus();
  }
  QUANT_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(path, kMaxTextFileBytes));
  if (absl::StripAsciiWhitespace(text).empty()) {
    return InvalidSpec("the text is empty");
  }
  QUANT_RETURN_IF_ERROR(CheckIsText(text));
  return absl::EndsWith(path, ".jsonl") ? AddLines(text, packer)
                                        : packer.AddText(text);
}

absl::StatusOr<Dataset> Load(const std::string& path,
                             const Tokenizer* tokenizer,
                             const DatasetOptions& options) {
  Packer packer(tokenizer, options);
  QUANT_RETURN_IF_ERROR(packer.Begin());
  QUANT_RETURN_IF_ERROR(AddFile(path, packer));
  return packer.Finish();
}

}  // namespace

absl::StatusOr<BosPolicy> ParseBosPolicy(absl::string_view name) {
  if (name == "document") return BosPolicy::kDocument;
  if (name == "sequence") return BosPolicy::kSequence;
  if (name == "none") return BosPolicy::kNone;
  return UnknownNameError("--bos", name, {"document", "sequence", "none"});
}

bool HoldsText(const std::string& path) {
  return !absl::EndsWith(path, ".npy") && !absl::EndsWith(path, ".safetensors");
}

absl::StatusOr<Dataset> LoadDataset(const std::string& path,
                                    const Tokenizer* tokenizer,
                                    const DatasetOptions& options) {
  if (HoldsText(path) && tokenizer == nullptr) {
    return InvalidSpec(absl::StrCat(
        path,
        ": is text, and the model has no tokenizer; token ids can be "
        "given instead, in .npy or .safetensors"));
  }
  auto data = Load(path, HoldsText(path) ? tokenizer : nullptr, options);
  // Errors of the file system name it already.
  if (data.ok() || absl::StrContains(data.status().message(), path)) {
    return data;
  }
  return Annotate(data.status(), path);
}

}  // namespace quant

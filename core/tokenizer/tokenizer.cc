#include "core/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/tokenizer/byte_alphabet.h"
#include "core/tokenizer/unicode.h"

namespace quant {
namespace {

// Pieces that come again and again are encoded once; words are short.
constexpr size_t kMaxCachedBytes = 64;
constexpr size_t kMaxCachedPieces = 1 << 18;

// Ids of pieces that were encoded before, as ranges of the result.
class Memory {
 public:
  // Views of pieces and `out` outlive the memory.
  Memory(const TokenModel& model, Encoding& out) : model_(model), out_(out) {}

  void Encode(absl::string_view part) {
    if (part.size() > kMaxCachedBytes) return model_.Encode(part, out_);
    if (const auto it = ranges_.find(part); it != ranges_.end()) {
      const Range range = it->second;
      out_.unknown += range.unknown;
      for (size_t i = range.begin; i < range.end; ++i) {
        const int32_t id = out_.ids[i];
        out_.ids.push_back(id);
      }
      return;
    }
    Range range = {.begin = out_.ids.size(), .unknown = -out_.unknown};
    model_.Encode(part, out_);
    range.end = out_.ids.size();
    range.unknown += out_.unknown;
    if (ranges_.size() < kMaxCachedPieces) ranges_.emplace(part, range);
  }

 private:
  struct Range {
    size_t begin = 0, end = 0;
    int64_t unknown = 0;
  };

  const TokenModel& model_;
  Encoding& out_;
  absl::flat_hash_map<absl::string_view, Range> ranges_;
};

// "<0x0A>" as the byte; false for other tokens.
bool ByteToken(absl::string_view token, char& byte) {
  std::string bytes;
  int32_t value = 0;
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>' ||
      !absl::SimpleHexAtoi(token.substr(3, 2), &value)) {
    return false;
  }
  byte = static_cast<char>(value);
  return true;
}

}  // namespace

absl::Status Tokenizer::Normalize(Segment& segment) const {
  for (const auto& normalizer : normalizers_) {
    QUANT_RETURN_IF_ERROR(normalizer->Apply(segment));
  }
  return absl::OkStatus();
}

void Tokenizer::EncodePieces(const CutText& pieces, Encoding& out) const {
  Memory memory(*model_, out);
  for (const Piece& piece : pieces.pieces) {
    absl::string_view rest = pieces.Of(piece);
    while (!rest.empty()) {
      const size_t end = model_->cuts() ? CutEnd(rest) : rest.size();
      memory.Encode(rest.substr(0, end));
      rest.remove_prefix(end);
    }
  }
}

absl::Status Tokenizer::EncodeSegment(const Segment& segment,
                                      Encoding& out) const {
  const absl::string_view text = segment.text;
  QUANT_ASSIGN_OR_RETURN(const auto parts, normalized_.Find(text));
  for (const AddedTokens::Part& part : parts) {
    if (part.id >= 0) {
      out.ids.push_back(part.id);
      continue;
    }
    CutText pieces;
    const int64_t size = part.end - part.begin;
    pieces.text = std::string(text.substr(part.begin, size));
    pieces.pieces.push_back({0, size, segment.first && part.begin == 0});
    for (const auto& pre_tokenizer : pre_tokenizers_) {
      QUANT_RETURN_IF_ERROR(pre_tokenizer->Apply(pieces));
    }
    EncodePieces(pieces, out);
  }
  return absl::OkStatus();
}

absl::StatusOr<Encoding> Tokenizer::Encode(absl::string_view text) const {
  if (static_cast<int64_t>(text.size()) > kMaxDocumentBytes) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, Reason::kInvalidSpec,
        absl::StrCat("text of ", text.size(), " bytes; at most ",
                     kMaxDocumentBytes, " are tokenized as a whole"));
  }
  if (const auto bad = FirstInvalidUtf8(text)) {
    return InvalidSpec(absl::StrCat("text: byte ", *bad,
                                    " is not UTF-8, which is what text must "
                                    "be"));
  }
  Encoding out;
  QUANT_ASSIGN_OR_RETURN(const auto parts, raw_.Find(text));
  for (const AddedTokens::Part& part : parts) {
    if (part.id >= 0) {
      out.ids.push_back(part.id);
      continue;
    }
    Segment segment = {
        std::string(text.substr(part.begin, part.end - part.begin)),
        part.begin == 0};
    QUANT_RETURN_IF_ERROR(Normalize(segment));
    QUANT_RETURN_IF_ERROR(EncodeSegment(segment, out));
  }
  return out;
}

std::string Tokenizer::TextOf(int32_t id) const {
  if (const auto it = added_.find(id); it != added_.end()) return it->second;
  const std::vector<std::string>& tokens = model_->tokens();
  if (id < 0 || id >= static_cast<int64_t>(tokens.size())) return "";
  const std::string& token = tokens[id];
  if (spelling_ == Spelling::kBytes) return BytesOf(token);
  char byte = 0;
  if (ByteToken(token, byte)) return std::string(1, byte);
  return absl::StrReplaceAll(token, {{kSpaceSign, " "}});
}

}  // namespace quant

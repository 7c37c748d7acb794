// tokenizer.model: a SentencePiece model, of which a tokenizer needs only a few
// fields. Source: sentencepiece_model.proto, and the protocol buffer wire
// format.
#ifndef QUANT_CORE_ARCHITECTURE_SPM_MODEL_H_
#define QUANT_CORE_ARCHITECTURE_SPM_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// Values of ModelProto.SentencePiece.Type, and of GGUF's token types.
enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct SpmPiece {
  std::string text;  // UTF-8
  float score = 0;   // finite
  TokenType type = TokenType::kNormal;
};

struct SpmModel {
  std::vector<SpmPiece> pieces;
  bool is_bpe = false;  // else unigram, word, char
  bool byte_fallback = false;
  // Ids of the trainer; -1 = none.
  int64_t unk = 0, bos = 1, eos = 2, pad = -1;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool space_is_suffix = false;  // "word_" instead of "_word"
  // Of its rules to rewrite characters; "identity" has none.
  std::string normalizer;
  bool has_rules = false;
};

// DATA_LOSS MODEL_MALFORMED for what is no such model, has too many pieces, or
// pieces that are not UTF-8.
absl::StatusOr<SpmModel> ParseSpmModel(absl::string_view bytes);

// A file that holds this model and nothing else: text is not normalized, spaces
// are respelled, and bytes stand for what has no piece where there are pieces
// for all of them.
std::string SerializeSpmModel(const SpmModel& model);

// Whether `text` is UTF-8: no overlong forms, no surrogates.
bool IsUtf8(absl::string_view text);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_SPM_MODEL_H_

// The tokenizer in a GGUF file, from its tokenizer.* keys: the inverse of
// GgufTokenizerKvs.
#ifndef QUANT_CORE_ARCHITECTURE_GGUF_TOKENIZER_H_
#define QUANT_CORE_ARCHITECTURE_GGUF_TOKENIZER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/architecture/spm_model.h"
#include "core/container/gguf_value.h"

namespace quant {

// Refers to the keys that it was read from.
struct GgufTokenizer {
  // Tokens of bytes with merges; else a SentencePiece vocabulary with scores.
  bool byte_level = false;
  std::string pre;                       // tokenizer.ggml.pre
  absl::Span<const std::string> tokens;  // UTF-8, unique
  std::vector<TokenType> types;          // one per token
  absl::Span<const float> scores;        // one per token, finite; or empty
  absl::Span<const std::string> merges;  // "left right", best first
  // Ids; -1 = none.
  int64_t bos = -1, eos = -1, unk = -1, sep = -1, pad = -1, cls = -1, mask = -1;
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = false;
  // Of chats, by name; "default" for the one without.
  std::vector<std::pair<std::string, std::string>> chat_templates;
  // Keys of the tokenizer that nothing here stands for.
  std::vector<std::string> unread;

  // Whether this is no token but fills a place of the embedding.
  bool IsFiller(int64_t id) const;
  // Whether merges lead to the token; others are found in text, or never.
  // Tokens with SentencePiece's sign for a space can't be found: it is no part
  // of text.
  bool IsMerged(int64_t id) const;
};

// Nothing when the file has no tokenizer, or one of another kind (`why` then
// says so). DATA_LOSS MODEL_MALFORMED for keys that contradict each other.
absl::StatusOr<std::optional<GgufTokenizer>> ReadGgufTokenizer(
    absl::Span<const GgufKv> kvs, std::string& why);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_GGUF_TOKENIZER_H_

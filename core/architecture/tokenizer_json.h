// tokenizer.json of the tokenizers library: the parts that describe a BPE
// tokenizer. Read as a stream, because vocabularies are large.
#ifndef QUANT_CORE_ARCHITECTURE_TOKENIZER_JSON_H_
#define QUANT_CORE_ARCHITECTURE_TOKENIZER_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

struct VocabEntry {
  std::string text;
  int64_t id = 0;  // in [0, kMaxTokens)
};

struct AddedToken {
  int64_t id = 0;  // in [0, kMaxTokens)
  std::string content;
  bool special = false;
  // How it is found in text.
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // ... and after it
  bool normalized = false;   // in normalized text, spelled as that spells it
};

struct TokenizerJson {
  std::vector<VocabEntry> vocab;    // in the order of the file
  std::vector<std::string> merges;  // "left right", best first
  std::vector<AddedToken> added;
  std::string unk_token;
  bool byte_fallback = false;
  bool ignore_merges = false;
  bool fuse_unk = false;
  bool has_dropout = false;  // of merges, at random
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  // As they stand there; null when absent.
  nlohmann::json normalizer, pre_tokenizer, post_processor, decoder;
};

// DATA_LOSS MODEL_MALFORMED with what is wrong; INVALID_ARGUMENT UNSUPPORTED
// for other models than BPE.
absl::StatusOr<TokenizerJson> ParseTokenizerJson(absl::string_view text);

// An object {id, content, special} (of tokenizer.json), or {content, special}
// under the key `id` (of tokenizer_config.json).
absl::StatusOr<AddedToken> ParseAddedToken(const nlohmann::json& object);
absl::StatusOr<AddedToken> ParseAddedToken(absl::string_view id,
                                           const nlohmann::json& object);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_TOKENIZER_JSON_H_

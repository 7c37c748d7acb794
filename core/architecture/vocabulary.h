// The tokens of a model with what loaders of GGUF files want to know of each.
#ifndef QUANT_CORE_ARCHITECTURE_VOCABULARY_H_
#define QUANT_CORE_ARCHITECTURE_VOCABULARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/architecture/spm_model.h"
#include "core/architecture/tokenizer_json.h"

namespace quant {

// One entry per row of the embedding; the vectors are parallel.
struct Vocabulary {
  std::vector<std::string> tokens;  // unique
  std::vector<float> scores;        // a merge with a higher one goes first
  std::vector<TokenType> types;

  // The id of a token; -1 when there is none.
  int64_t Find(absl::string_view token) const;
};

// Of `rows` rows of an embedding. Rows without a token are called "[PAD<row>]".
// In each: DATA_LOSS MODEL_MALFORMED when there are more tokens than rows
// (added tokens beyond are left out: they have no weights), or a token is there
// twice.
absl::StatusOr<Vocabulary> VocabularyOfSpm(const SpmModel& model,
                                           absl::Span<const AddedToken> added,
                                           int64_t rows);
// A SentencePiece vocabulary that is known from merges alone. Loaders merge by
// scores, so a token's score is minus the rank of its first merge.
absl::StatusOr<Vocabulary> VocabularyOfMerges(
    const TokenizerJson& tokenizer, absl::Span<const AddedToken> added,
    int64_t rows);
// Tokens of bytes; loaders use the merges themselves.
absl::StatusOr<Vocabulary> VocabularyOfBytes(const TokenizerJson& tokenizer,
                                             absl::Span<const AddedToken> added,
                                             int64_t rows);

// Whether a token stands for a byte: "<0x0A>".
bool IsByteToken(absl::string_view token);

// Whether a token that nobody calls special is one by its looks ("<|end|>").
bool LooksSpecial(absl::string_view token);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_VOCABULARY_H_

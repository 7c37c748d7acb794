// Merges for a vocabulary that has scores: SentencePiece merges the pair whose
// piece scores highest, tokenizer.json the pair that stands first in a list.
#ifndef QUANT_CORE_ARCHITECTURE_SPM_MERGES_H_
#define QUANT_CORE_ARCHITECTURE_SPM_MERGES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/architecture/gguf_tokenizer.h"

namespace quant {

// Ids of two pieces and of the one that they make.
struct SpmMerge {
  int32_t left = 0, right = 0, whole = 0;
};

// Every way to make a piece of two others, best score first; of one piece, and
// among equal scores, by ids. Pieces that text never holds (control tokens,
// bytes, ones with a space) take no part. RESOURCE_EXHAUSTED MODEL_MALFORMED
// for pieces so long, or merges so many, that no tokenizer has them.
absl::StatusOr<std::vector<SpmMerge>> MergesOfScores(
    const GgufTokenizer& tokenizer);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_SPM_MERGES_H_

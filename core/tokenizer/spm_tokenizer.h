// Byte pair encoding as tokenizer.model describes it: pieces merge by their
// scores.
// Source: bpe_model.cc and normalizer.cc of SentencePiece (Kudo, Richardson
// 2018).
#ifndef QUANT_CORE_TOKENIZER_SPM_TOKENIZER_H_
#define QUANT_CORE_TOKENIZER_SPM_TOKENIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/architecture/spm_model.h"
#include "core/tokenizer/model.h"
#include "core/tokenizer/normalizer.h"

namespace quant {

// INVALID_ARGUMENT UNSUPPORTED for unigram, word and character models, for
// models that rewrite characters ("nmt_nfkc") and for unused pieces; DATA_LOSS
// MODEL_MALFORMED for a model without its unknown piece or its bytes.
absl::StatusOr<std::unique_ptr<TokenModel>> MakeSpmModel(const SpmModel& spm);

// What it does with spaces.
absl::StatusOr<std::unique_ptr<Normalizer>> MakeSpmNormalizer(
    const SpmModel& spm);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_SPM_TOKENIZER_H_

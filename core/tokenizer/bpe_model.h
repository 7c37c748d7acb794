// Byte pair encoding as tokenizer.json describes it: merges by rank.
// Source: the BPE model of the tokenizers library.
#ifndef QUANT_CORE_TOKENIZER_BPE_MODEL_H_
#define QUANT_CORE_TOKENIZER_BPE_MODEL_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/architecture/tokenizer_json.h"
#include "core/tokenizer/model.h"

namespace quant {

// DATA_LOSS MODEL_MALFORMED when a merge names no tokens; INVALID_ARGUMENT
// UNSUPPORTED for dropout.
absl::StatusOr<std::unique_ptr<TokenModel>> MakeBpeModel(
    const TokenizerJson& json);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_BPE_MODEL_H_

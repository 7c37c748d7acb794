// The keys at the head of a GGUF file that say what the model is and how its
// text becomes tokens. Types are exact: loaders take no i32 for a u32.
#ifndef QUANT_CORE_ARCHITECTURE_GGUF_METADATA_H_
#define QUANT_CORE_ARCHITECTURE_GGUF_METADATA_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/tokenizer_files.h"
#include "core/container/gguf_value.h"

namespace quant {

// general.* and <architecture>.*, without what depends on the file's type.
std::vector<GgufKv> GgufConfigKvs(const DecoderConfig& config);

// tokenizer.*, for an embedding of `rows` rows, and general.name, by which
// loaders judge some tokens. DATA_LOSS MODEL_MALFORMED for
// files that contradict it or themselves; INVALID_ARGUMENT UNSUPPORTED for
// tokenizers that loaders don't have; FAILED_PRECONDITION SOURCE_MISSING when
// there is neither tokenizer.json nor tokenizer.model.
absl::StatusOr<std::vector<GgufKv>> GgufTokenizerKvs(
    const TokenizerFiles& files, const DecoderConfig& config, int64_t rows);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_GGUF_METADATA_H_

// A model of block types as one of floats: for all that starts from values.
#ifndef QUANT_CORE_TRANSFORM_DEQUANTIZED_MODEL_H_
#define QUANT_CORE_TRANSFORM_DEQUANTIZED_MODEL_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"

namespace quant {

// Shows every tensor of a GGUF block type as F32, decoded while it is read;
// other tensors, keys and files as they are. Refers to `source`, which must
// live longer. Thread-safe, in flat memory.
//
// UNIMPLEMENTED UNSUPPORTED for block types that have no decoder.
absl::StatusOr<std::unique_ptr<ModelReader>> DequantizedModel(
    const ModelReader& source);

// Whether any tensor is of a block type.
bool HasBlocks(const ModelReader& model);

}  // namespace quant

#endif  // QUANT_CORE_TRANSFORM_DEQUANTIZED_MODEL_H_

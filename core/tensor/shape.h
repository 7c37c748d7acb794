// Shapes, with sizes that can't overflow unnoticed.
#ifndef QUANT_CORE_TENSOR_SHAPE_H_
#define QUANT_CORE_TENSOR_SHAPE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor/dtype.h"

namespace quant {

// Row-major; a Linear weight is [out, in]. Empty = a scalar.
using Shape = std::vector<int64_t>;

// Product of the dimensions; nothing on overflow or a negative dimension.
std::optional<int64_t> NumElements(const Shape& shape);

// Bytes of a dense tensor; nothing on overflow or when the bits don't fill
// whole bytes.
std::optional<int64_t> TensorBytes(DType dtype, const Shape& shape);

// "[4096, 11008]".
std::string ShapeToString(const Shape& shape);

}  // namespace quant

#endif  // QUANT_CORE_TENSOR_SHAPE_H_

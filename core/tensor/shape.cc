#include "core/tensor/shape.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/checked_math.h"

namespace quant {

std::optional<int64_t> NumElements(const Shape& shape) {
  int64_t elements = 1;
  bool zero = false;
  for (int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension == 0) {
      zero = true;
      continue;
    }
    const auto product = CheckedMul(elements, dimension);
    if (!product) return std::nullopt;
    elements = *product;
  }
  return zero ? 0 : elements;
}

std::optional<int64_t> TensorBytes(DType dtype, const Shape& shape) {
  const auto elements = NumElements(shape);
  if (!elements) return std::nullopt;
  const auto bits = CheckedMul(*elements, DTypeBits(dtype));
  if (!bits || *bits % 8 != 0) return std::nullopt;
  return *bits / 8;
}

std::string ShapeToString(const Shape& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace quant

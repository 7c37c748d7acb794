// Element types of tensors on disk: exactly those of safetensors.
#ifndef QUANT_CORE_TENSOR_DTYPE_H_
#define QUANT_CORE_TENSOR_DTYPE_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace quant {

// In the reference writer's order, low to high: files store tensors by
// descending type.
enum class DType : uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3FNUZ,
  kF8E5M2FNUZ,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

// Bits of one element: 4, 6, 8, 16, 32 or 64.
int DTypeBits(DType dtype);
// "BF16", ...: the spelling of safetensors headers.
absl::string_view DTypeName(DType dtype);
std::optional<DType> ParseDType(absl::string_view name);
// Types that a quantizer reads as weights: F16, BF16, F32, F64.
bool IsWeightFloat(DType dtype);

}  // namespace quant

#endif  // QUANT_CORE_TENSOR_DTYPE_H_

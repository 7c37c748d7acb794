#include "core/codec/scale_grid.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/tensor/float_formats.h"

namespace quant {
namespace {

constexpr float kGreatestE4m3 = 448;
constexpr float kSmallestE4m3 = 0x1p-9f;
constexpr float kSmallestNormalE4m3 = 0x1p-6f;
// What the reference puts in the place of a scale of zero.
constexpr float kE4m3OfZeros = 0.125f;
// Effective scales stay well within F32's range.
constexpr float kGreatestTensorScale = 0x1p126f;
// Adding a quarter to the mantissa carries from 1.75 on.
constexpr uint32_t kQuarter = 1u << 21;

float FloatScale(const CodeRange& range, DType type) {
  const double exact = static_cast<double>(range.largest) / range.greatest_code;
  float scale = static_cast<float>(exact);
  if (static_cast<double>(scale) < exact) {
    scale = std::nextafter(scale, std::numeric_limits<float>::infinity());
  }
  return RoundScaleUp(scale, type);
}

float PowerOfTwo(const CodeRange& range) {
  const uint32_t bits = std::bit_cast<uint32_t>(range.largest) + kQuarter;
  const int exponent = static_cast<int>(bits >> 23);  // biased
  const int code = exponent - std::ilogb(range.greatest_code);
  return E8m0ToF32(static_cast<uint8_t>(std::clamp(code, 0, 254)));
}

float E4m3Scale(const CodeRange& range, float tensor_scale) {
  if (range.largest == 0) return kE4m3OfZeros / tensor_scale;
  const float wanted = tensor_scale * (range.largest / range.greatest_code);
  const float held = std::clamp(wanted, kSmallestE4m3, kGreatestE4m3);
  if (held < kSmallestNormalE4m3) {
    return std::ceil(held / kSmallestE4m3) * kSmallestE4m3 / tensor_scale;
  }
  return E4m3ToF32(F32ToE4m3(held)) / tensor_scale;
}

}  // namespace

float ScaleOnGrid(ScaleKind kind, const CodeRange& range, ScaleType type) {
  if (kind == ScaleKind::kE4M3) return E4m3Scale(range, type.tensor_scale);
  if (range.largest == 0) {
    // The mean of nested scales is not to be disturbed.
    return kind == ScaleKind::kNested ? std::numeric_limits<float>::min() : 1;
  }
  return kind == ScaleKind::kE8M0 ? PowerOfTwo(range)
                                  : FloatScale(range, type.dtype);
}

float E4m3TensorScale(float largest, float greatest_code) {
  if (largest == 0) return 1;
  return std::min(kGreatestE4m3 * greatest_code / largest,
                  kGreatestTensorScale);
}

}  // namespace quant

#include "core/kernels/ggml_k_scales.h"

#include <algorithm>
#include <bit>

#include "core/tensor/float_formats.h"

namespace quant {
namespace {

constexpr uint32_t kInfinityBits = 0x7F800000u;
// Half of the smallest F16: values up to here are nearest to zero.
constexpr uint32_t kHalfOfLeastF16 = (127 - 25) << 23;
constexpr float kLargestF16 = 65504.0f;

int ExponentOf(uint32_t bits) { return static_cast<int>(bits >> 23) - 127; }

// For exponents in -1022..1023.
double PowerOfTwo(int exponent) {
  return std::bit_cast<double>(static_cast<uint64_t>(1023 + exponent) << 52);
}

// In the units of the weights.
float Stored(double scale, int exponent) {
  const double stored = scale * PowerOfTwo(exponent);
  if (!(stored > 0)) return 0;
  return static_cast<float>(std::min<double>(stored, kLargestF16));
}

HalfScale FromStored(float stored, int exponent) {
  const double value = stored * PowerOfTwo(-exponent);
  if (value < kLeastScale) return {};
  return {F32ToF16(stored), static_cast<float>(value)};
}

}  // namespace

Magnitude MagnitudeOf(uint32_t largest_bits) {
  if (largest_bits <= kHalfOfLeastF16) return {true, 0, 0.0f};
  // At the top of float32 the factor would be subnormal.
  const int exponent = std::min(ExponentOf(largest_bits), 126);
  return {false, exponent, static_cast<float>(PowerOfTwo(-exponent))};
}

Weighting WeightingOf(uint32_t largest_bits) {
  if (largest_bits == 0 || largest_bits >= kInfinityBits) return {true, 1.0f};
  const int exponent = std::clamp(ExponentOf(largest_bits), -126, 126);
  return {false, static_cast<float>(PowerOfTwo(-exponent))};
}

HalfScale NearestHalf(double scale, int exponent) {
  return FromStored(F16ToF32(F32ToF16(Stored(scale, exponent))), exponent);
}

HalfScale HalfAbove(double scale, int exponent) {
  return FromStored(RoundUpToF16(Stored(scale, exponent)), exponent);
}

}  // namespace quant

// Legend: M mantissa bits, bias the exponent bias, a the magnitude bits of a
// float32, E its unbiased exponent.
#include "core/tensor/float_formats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace quant {
namespace {

constexpr uint32_t kF32Sign = 0x80000000u;
constexpr uint32_t kF32Infinity = 0x7F800000u;
constexpr int kF32Mantissa = 23;
constexpr int kF32Bias = 127;

struct Format {
  int mantissa_bits;
  int bias;
};

constexpr Format kF16{10, 15};
constexpr Format kE4m3{3, 7};
constexpr Format kE5m2{2, 15};

// Value of a magnitude code whose exponent field counts as a number: special
// codes are the caller's concern.
float DecodeMagnitude(uint32_t code, Format format) {
  const uint32_t exponent = code >> format.mantissa_bits;
  if (exponent == 0) {
    return std::ldexp(static_cast<float>(code),
                      1 - format.bias - format.mantissa_bits);
  }
  const uint32_t a =
      (code << (kF32Mantissa - format.mantissa_bits)) +
      (static_cast<uint32_t>(kF32Bias - format.bias) << kF32Mantissa);
  return std::bit_cast<float>(a);
}

// Code of the finite magnitude `a`, rounded to nearest, ties to even, as if
// exponents went on without end: codes beyond the largest mean overflow.
uint32_t EncodeMagnitude(uint32_t a, Format format) {
  const int exponent = static_cast<int>(a >> kF32Mantissa) - kF32Bias;
  const int least = 1 - format.bias;  // exponent of the smallest normal
  const int shift =
      kF32Mantissa - format.mantissa_bits + std::max(least - exponent, 0);
  // Below half of the smallest subnormal; float32 subnormals are among these.
  if (shift > kF32Mantissa + 1) return 0;
  const uint32_t significand = (a & 0x7FFFFFu) | 0x800000u;
  const uint32_t half = 1u << (shift - 1);
  const uint32_t rest = significand & (2 * half - 1);
  uint32_t code = significand >> shift;
  code += rest > half || (rest == half && (code & 1) != 0);
  // The hidden bit, where there is one, adds the last 1 of the exponent field.
  const uint32_t field = std::max(exponent - least, 0);
  return (field << format.mantissa_bits) + code;
}

// One loop per type.
template <class Convert>
void StoreAs(absl::Span<const float> values, uint8_t* out, Convert convert) {
  for (float value : values) {
    const auto element = convert(value);
    std::memcpy(out, &element, sizeof(element));
    out += sizeof(element);
  }
}

}  // namespace

float Bf16ToF32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t F32ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float F16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t code = bits & 0x7FFF;
  if (code >= 0x7C00) {
    // The quiet bit, as the hardware's conversion sets it.
    const uint32_t quiet = code > 0x7C00 ? 0x400000u : 0;
    return std::bit_cast<float>(sign | kF32Infinity | quiet |
                                (code & 0x3FF) << 13);
  }
  return std::bit_cast<float>(
      sign | std::bit_cast<uint32_t>(DecodeMagnitude(code, kF16)));
}

uint16_t F32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t a = bits & ~kF32Sign;
  if (a > kF32Infinity) {
    return static_cast<uint16_t>(sign | 0x7E00 | (a >> 13 & 0x3FF));
  }
  const uint32_t code = a == kF32Infinity ? 0x7C00 : EncodeMagnitude(a, kF16);
  return static_cast<uint16_t>(sign | std::min(code, 0x7C00u));
}

float E4m3ToF32(uint8_t bits) {
  const uint32_t code = bits & 0x7F;
  const float magnitude = code == 0x7F ? std::numeric_limits<float>::quiet_NaN()
                                       : DecodeMagnitude(code, kE4m3);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

uint8_t F32ToE4m3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  const uint32_t a = bits & ~kF32Sign;
  if (a > kF32Infinity) return sign | 0x7F;
  return static_cast<uint8_t>(sign |
                              std::min(EncodeMagnitude(a, kE4m3), 0x7Eu));
}

float E5m2ToF32(uint8_t bits) {
  return F16ToF32(static_cast<uint16_t>(bits << 8));
}

uint8_t F32ToE5m2(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  const uint32_t a = bits & ~kF32Sign;
  if (a > kF32Infinity) return sign | 0x7E;
  return static_cast<uint8_t>(sign |
                              std::min(EncodeMagnitude(a, kE5m2), 0x7Bu));
}

float E8m0ToF32(uint8_t bits) {
  if (bits == 0xFF) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0f, bits - kF32Bias);
}

uint8_t F32ToE8m0(float value) {
  if (std::isnan(value)) return 0xFF;
  const uint32_t a = std::bit_cast<uint32_t>(value) & ~kF32Sign;
  return static_cast<uint8_t>(std::min(a >> kF32Mantissa, 0xFEu));
}

float RoundUpToBf16(float value) {
  constexpr uint32_t kLargest = 0x7F7F0000u;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>(
      std::min((bits + 0xFFFF) & 0xFFFF0000u, kLargest));
}

float RoundUpToF16(float value) {
  constexpr uint32_t kLargest = 0x7BFF;
  uint32_t code = F32ToF16(value);
  if (F16ToF32(static_cast<uint16_t>(code)) < value) ++code;
  return F16ToF32(static_cast<uint16_t>(std::min(code, kLargest)));
}

float RoundToType(DType dtype, float value) {
  if (dtype == DType::kBF16) return Bf16ToF32(F32ToBf16(value));
  if (dtype == DType::kF16) return F16ToF32(F32ToF16(value));
  return value;
}

void StoreFloats(DType dtype, absl::Span<const float> values, uint8_t* out) {
  switch (dtype) {
    case DType::kBF16:
      return StoreAs(values, out, [](float v) { return F32ToBf16(v); });
    case DType::kF16:
      return StoreAs(values, out, [](float v) { return F32ToF16(v); });
    case DType::kF64:
      return StoreAs(values, out, [](float v) { return double{v}; });
    default:
      return StoreAs(values, out, [](float v) { return v; });
  }
}

}  // namespace quant

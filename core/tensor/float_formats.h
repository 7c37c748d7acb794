// Small floating-point types, bit by bit. These scalar functions are the truth
// that the SIMD kernels are tested against.
//
// Rounding is to nearest, ties to even, everywhere.
#ifndef QUANT_CORE_TENSOR_FLOAT_FORMATS_H_
#define QUANT_CORE_TENSOR_FLOAT_FORMATS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "core/tensor/dtype.h"

namespace quant {

// bfloat16: 8 exponent bits, 7 mantissa bits. NaN stays NaN (quiet), values
// beyond the range become infinite.
float Bf16ToF32(uint16_t bits);
uint16_t F32ToBf16(float value);

// IEEE 754 binary16, with subnormals. Values that round beyond 65504 become
// infinite.
float F16ToF32(uint16_t bits);
uint16_t F32ToF16(float value);

// FP8 E4M3 (the "fn" flavour: no infinities, NaN = 0x7F, largest 448, smallest
// subnormal 2^-9). Encoding saturates at +-448; NaN stays NaN. OCP "8-bit
// Floating Point Specification" revision 1.0.
float E4m3ToF32(uint8_t bits);
uint8_t F32ToE4m3(float value);

// FP8 E5M2 (infinities and NaNs as in IEEE; largest 57344, smallest subnormal
// 2^-16). Encoding saturates at +-57344; NaN stays NaN.
float E5m2ToF32(uint8_t bits);
uint8_t F32ToE5m2(float value);

// E8M0 scale: 2^(bits - 127); 0xFF is NaN. Encoding takes the floor of log2 of
// the magnitude, held within 0 and 254; NaN stays NaN.
float E8m0ToF32(uint8_t bits);
uint8_t F32ToE8m0(float value);

// The smallest value of the type that is >= `value`, for finite value >= 0;
// the largest finite one (F16: 65504) where none is.
// For scales: a scale that is rounded down no longer covers its range.
float RoundUpToBf16(float value);
float RoundUpToF16(float value);

// `value` as an element of `dtype` (F16, BF16, F32, F64) holds it.
float RoundToType(DType dtype, float value);
// Elements of `dtype`, likewise, at any alignment.
void StoreFloats(DType dtype, absl::Span<const float> values, uint8_t* out);

}  // namespace quant

#endif  // QUANT_CORE_TENSOR_FLOAT_FORMATS_H_

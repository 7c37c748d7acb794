// Source elements to float32. Exact for F16, BF16 and F32; F64 is rounded to
// nearest even. No value is changed, NaN payloads included.
//
// Cost: one read and one write of the array. The scalar twins are the functions
// of core/tensor/float_formats.h; results are equal bit for bit.
#ifndef QUANT_CORE_KERNELS_CONVERT_H_
#define QUANT_CORE_KERNELS_CONVERT_H_

#include <cstdint>

#include "core/tensor/dtype.h"

namespace quant {

// Converts `count` elements of `dtype` (F16, BF16, F32, F64) at `bytes`, any
// alignment, to `out` (no overlap). Returns whether all results are finite.
bool ConvertToF32(DType dtype, const uint8_t* bytes, int64_t count, float* out);

// Whether `count` elements of `dtype` at `bytes` are all finite.
bool AllFinite(DType dtype, const uint8_t* bytes, int64_t count);

// Smallest and largest value of every group of `group` consecutive elements;
// the last group may be short. lo, hi [ceil(n / group)]. Values must be finite.
void GroupRanges(const float* x, int64_t n, int64_t group, float* lo,
                 float* hi);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_CONVERT_H_

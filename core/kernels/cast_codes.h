// Casts of float32 rows to F16 and BF16: round to nearest, ties to even; beyond
// the range infinity.
//
// The scalar twins are F32ToF16 and F32ToBf16 of core/tensor/float_formats.h;
// results and sums are equal bit for bit on every target.
#ifndef QUANT_CORE_KERNELS_CAST_CODES_H_
#define QUANT_CORE_KERNELS_CAST_CODES_H_

#include <cstdint>

#include "core/kernels/lane_sums.h"

namespace quant {

enum class HalfKind { kF16, kBF16 };

// x [n] finite -> out [n], and adds the row to `sums`. An overflow is counted,
// not summed: as an error it would be infinite.
void EncodeHalfRow(HalfKind kind, const float* x, int64_t n, uint16_t* out,
                   LaneSums& sums);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_CAST_CODES_H_

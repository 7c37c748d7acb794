// What single columns of a matrix range over, gathered row by row.
#ifndef QUANT_CORE_KERNELS_COLUMN_RANGES_H_
#define QUANT_CORE_KERNELS_COLUMN_RANGES_H_

#include <cstdint>

namespace quant {

// Takes x [n], a row, into the columns' lo, hi and sums of squares, [n] each.
// NaN changes neither lo nor hi. Squares are exact in float64 and added in the
// order of the calls: the same bits on every target.
void AddColumnRanges(const float* x, int64_t n, float* lo, float* hi,
                     double* squares);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_COLUMN_RANGES_H_

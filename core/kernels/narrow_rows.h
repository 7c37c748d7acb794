// Integer codes of rows of BF16 or F16, straight from the bytes of a source
// file: what convert.h, GroupRanges and int_codes.h do one after the other,
// with the floats staying in registers. Formula and legend: int_codes.h.
//
// The twins are those three: codes and sums are equal bit for bit.
#ifndef QUANT_CORE_KERNELS_NARROW_ROWS_H_
#define QUANT_CORE_KERNELS_NARROW_ROWS_H_

#include <cstdint>

#include "core/kernels/int_codes.h"
#include "core/tensor/dtype.h"

namespace quant {

// Smallest and largest value of every group of `group` consecutive elements of
// x [n] (BF16 or F16, any alignment), 0 included by force; the last group may
// be short. lo, hi [ceil(n / group)]. Answers whether all elements are finite;
// lo and hi mean nothing when not.
bool NarrowGroupRanges(DType dtype, const uint8_t* x, int64_t n, int64_t group,
                       float* lo, float* hi);

// x [n] finite -> codes [n], and adds the row to `sums`.
void EncodeNarrowIntRow(const IntRow& row, DType dtype, const uint8_t* x,
                        int8_t* codes, LaneSums& sums);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_NARROW_ROWS_H_

// Error sums of values that were decoded by whatever codec.
#ifndef QUANT_CORE_KERNELS_ERROR_SUMS_H_
#define QUANT_CORE_KERNELS_ERROR_SUMS_H_

#include <cstdint>

#include "core/kernels/lane_sums.h"

namespace quant {

// x [n], back [n]: what its codes stand for. Adds noise, signal and the largest
// error to `sums`, in runs (lane_sums.h). The scalar twin is
// core/kernels/reference.h; sums are equal bit for bit on every target.
void AddErrors(const float* x, const float* back, int64_t n, LaneSums& sums);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_ERROR_SUMS_H_

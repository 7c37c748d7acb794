// Error sums that are the same on every CPU: element i of a call is added to
// virtual lane i % 16, in double, and lanes are combined in one fixed order.
#ifndef QUANT_CORE_KERNELS_LANE_SUMS_H_
#define QUANT_CORE_KERNELS_LANE_SUMS_H_

#include <cstdint>

namespace quant {

// The widest vector of floats that is used (AVX-512). Narrower targets work on
// several registers per block of 16.
inline constexpr int kVirtualLanes = 16;

struct LaneSums {
  double noise[kVirtualLanes] = {};   // sum of (x_hat - x)^2
  double signal[kVirtualLanes] = {};  // sum of x^2
  float max_abs_error = 0;            // max |x_hat - x|
  int64_t overflow = 0;               // casts: finite before, infinite after
  int64_t underflow = 0;              // casts: nonzero before, zero after
};

// Lanes added pairwise, halving their number each time.
inline double CombineLanes(const double (&lanes)[kVirtualLanes]) {
  double sums[kVirtualLanes];
  for (int i = 0; i < kVirtualLanes; ++i) sums[i] = lanes[i];
  for (int width = kVirtualLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_LANE_SUMS_H_

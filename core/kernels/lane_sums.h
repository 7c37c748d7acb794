// Error sums that are the same on every CPU: element i of a call is added to
// virtual lane i % 16, and lanes are combined in one fixed order.
//
// The kernels of integer codes and of ggml blocks, and AddErrors, add in runs:
// elements 256 k to 256 k + 255 of a group, of as many whole groups as fit
// (SummedTogether), or of a call, where there are no groups.
// A run has at most 16 squares per lane. They are added in float, and the run's
// sums in double: right to (16 + 1) 2^-24 = 1.0e-6 at worst, to about 1e-8 on
// random weights. A run with a lane's sum outside of
// kLeastRunSum..kMostRunSum is added in double, as other kernels add all.
#ifndef QUANT_CORE_KERNELS_LANE_SUMS_H_
#define QUANT_CORE_KERNELS_LANE_SUMS_H_

#include <cstdint>

namespace quant {

// The widest vector of floats that is used (AVX-512). Narrower targets work on
// several registers per block of 16.
inline constexpr int kVirtualLanes = 16;

inline constexpr int64_t kRunElems = 16 * kVirtualLanes;
// Below 2^-126 squares are rounded to multiples of 2^-149, which is nothing
// beside the least sum; none that is part of the largest has overflowed.
inline constexpr float kLeastRunSum = 0x1p-100f;
inline constexpr float kMostRunSum = 0x1p100f;

// Elements whose runs are counted from the first of them, in groups of `group`.
inline int64_t SummedTogether(int64_t group) {
  const bool several = group < kRunElems && group % kVirtualLanes == 0;
  return several ? kRunElems / group * group : group;
}

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

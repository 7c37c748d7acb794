#include "core/kernels/error_sums.h"

#include <cstring>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/error_sums.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

// `n`: a multiple of 16.
template <class Sums>
HWY_INLINE void AddBlocks(const float* x, const float* back, int64_t n,
                          Sums& sums) {
  for (int64_t i = 0; i < n; i += kVirtualLanes) {
    for (int r = 0; r < kRegisters; ++r) {
      const VF value = hn::LoadU(DF(), x + i + r * kFloatLanes);
      const VF decoded = hn::LoadU(DF(), back + i + r * kFloatLanes);
      sums.Add(r, value, hn::Sub(decoded, value));
    }
  }
}

template <class Sums>
HWY_INLINE void AddPadded(const float* x, const float* back, int64_t n,
                          Sums& sums) {
  const int64_t whole = n / kVirtualLanes * kVirtualLanes;
  AddBlocks(x, back, whole, sums);
  if (whole == n) return;
  // Zeros without error add nothing.
  float padded_x[kVirtualLanes] = {};
  float padded_back[kVirtualLanes] = {};
  std::memcpy(padded_x, x + whole, (n - whole) * sizeof(float));
  std::memcpy(padded_back, back + whole, (n - whole) * sizeof(float));
  AddBlocks(padded_x, padded_back, kVirtualLanes, sums);
}

void AddErrorsImpl(const float* x, const float* back, int64_t n,
                   LaneSums& lanes) {
  Accumulators acc(lanes);
  AddInRuns(n, acc,
            [&](int64_t i, int64_t count, auto& sums) QUANT_INLINE_LAMBDA {
              AddPadded(x + i, back + i, count, sums);
            });
  acc.Store(lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(AddErrorsImpl);

void AddErrors(const float* x, const float* back, int64_t n, LaneSums& sums) {
  HWY_DYNAMIC_DISPATCH(AddErrorsImpl)(x, back, n, sums);
}

}  // namespace quant
#endif  // HWY_ONCE

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

HWY_INLINE void AddBlock(const float* x, const float* back, Accumulators& acc) {
  for (int r = 0; r < kRegisters; ++r) {
    const VF value = hn::LoadU(DF(), x + r * kFloatLanes);
    const VF decoded = hn::LoadU(DF(), back + r * kFloatLanes);
    acc.Add(r, value, hn::Sub(decoded, value));
  }
}

void AddErrorsImpl(const float* x, const float* back, int64_t n,
                   LaneSums& sums) {
  Accumulators acc(sums);
  int64_t i = 0;
  for (; i + kVirtualLanes <= n; i += kVirtualLanes) {
    AddBlock(x + i, back + i, acc);
  }
  if (i < n) {
    // Zeros without error add nothing.
    float padded_x[kVirtualLanes] = {};
    float padded_back[kVirtualLanes] = {};
    std::memcpy(padded_x, x + i, (n - i) * sizeof(float));
    std::memcpy(padded_back, back + i, (n - i) * sizeof(float));
    AddBlock(padded_x, padded_back, acc);
  }
  acc.Store(sums);
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

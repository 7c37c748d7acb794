#include "core/kernels/error_sums.h"

#include <algorithm>
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

// At a time; the errors lie in the level-1 cache, from where they are promoted
// to double as they are loaded.
constexpr int64_t kPiece = 16 * kVirtualLanes;

// `n`: at most kPiece, a multiple of 16.
HWY_INLINE void AddPiece(const float* x, const float* back, int64_t n,
                         Accumulators& acc) {
  alignas(64) float errors[kPiece];
  for (int64_t i = 0; i < n; i += kFloatLanes) {
    const VF value = hn::LoadU(DF(), x + i);
    const VF decoded = hn::LoadU(DF(), back + i);
    hn::Store(hn::Sub(decoded, value), DF(), errors + i);
  }
  acc.AddAll(x, errors, n);
}

void AddErrorsImpl(const float* x, const float* back, int64_t n,
                   LaneSums& sums) {
  Accumulators acc(sums);
  const int64_t whole = n / kVirtualLanes * kVirtualLanes;
  for (int64_t i = 0; i < whole; i += kPiece) {
    AddPiece(x + i, back + i, std::min(kPiece, whole - i), acc);
  }
  if (whole < n) {
    // Zeros without error add nothing.
    float padded_x[kVirtualLanes] = {};
    float padded_back[kVirtualLanes] = {};
    std::memcpy(padded_x, x + whole, (n - whole) * sizeof(float));
    std::memcpy(padded_back, back + whole, (n - whole) * sizeof(float));
    AddPiece(padded_x, padded_back, kVirtualLanes, acc);
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

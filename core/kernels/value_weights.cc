#include "core/kernels/value_weights.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/error_sums.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/value_weights.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

void WeighValuesImpl(const float* x, const float* importance, float root_mean,
                     int64_t n, float* weights) {
  const DF df;
  const VF one = hn::Set(df, 1), scale = hn::Set(df, root_mean);
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    const VF value = hn::Div(hn::LoadU(df, x + i), scale);
    // A product and a sum, each rounded, as in the plain loop below.
    const VF square = hn::Mul(value, value);
    const VF root = hn::Sqrt(hn::Add(one, square));
    hn::StoreU(hn::Mul(hn::LoadU(df, importance + i), root), df, weights + i);
  }
  for (; i < n; ++i) {
    const float value = x[i] / root_mean;
    weights[i] = importance[i] * std::sqrt(1 + value * value);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(WeighValuesImpl);

void WeighValues(const float* x, const float* importance, int64_t n,
                 float* weights) {
  if (n <= 0) return;
  LaneSums sums;
  AddErrors(x, x, n, sums);
  const auto root_mean =
      static_cast<float>(std::sqrt(CombineLanes(sums.signal) / n));
  if (root_mean < std::numeric_limits<float>::min()) {
    std::copy_n(importance, n, weights);
    return;
  }
  HWY_DYNAMIC_DISPATCH(WeighValuesImpl)(x, importance, root_mean, n, weights);
}

}  // namespace quant
#endif  // HWY_ONCE

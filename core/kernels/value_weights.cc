#include "core/kernels/value_weights.h"

#include <cmath>

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

void WeighValuesImpl(const float* x, const float* importance, float mean,
                     int64_t n, float* weights) {
  const DF df;
  const VF mean_square = hn::Set(df, mean);
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    const VF value = hn::LoadU(df, x + i);
    // A product and a sum, each rounded, as in the plain loop below.
    const VF square = hn::Mul(value, value);
    const VF root = hn::Sqrt(hn::Add(mean_square, square));
    hn::StoreU(hn::Mul(hn::LoadU(df, importance + i), root), df, weights + i);
  }
  for (; i < n; ++i) {
    weights[i] = importance[i] * std::sqrt(mean + x[i] * x[i]);
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
  const float mean = static_cast<float>(CombineLanes(sums.signal) / n);
  HWY_DYNAMIC_DISPATCH(WeighValuesImpl)(x, importance, mean, n, weights);
}

}  // namespace quant
#endif  // HWY_ONCE

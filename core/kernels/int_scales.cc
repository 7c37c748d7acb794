#include "core/kernels/int_scales.h"

#include <algorithm>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/int_scales.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "hwy/highway.h"

// Shared by all targets.
#ifndef QUANT_CORE_KERNELS_INT_SCALES_ONCE_
#define QUANT_CORE_KERNELS_INT_SCALES_ONCE_
namespace quant {
// How positive floats are rounded upwards to a type with fewer bits, and the
// range in which the result is a normal number of it.
struct ScaleRounding {
  uint32_t dropped;  // low bits; none: rounded to nearest
  float least;
  float greatest;
};
inline ScaleRounding RoundingOf(DType type) {
  if (type == DType::kF16) return {0x1FFF, 0x1p-14f, 0x1p14f};
  return {type == DType::kBF16 ? 0xFFFFu : 0u, 0x1p-120f, 0x1p120f};
}
}  // namespace quant
#endif

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kMaxLanes = 8;
using DD = hn::CappedTag<double, kMaxLanes>;
using DF = hn::Rebind<float, DD>;
using DU = hn::Rebind<uint32_t, DD>;
using DI = hn::Rebind<int32_t, DD>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(DD()));

// The least value of the type >= value (positive); the nearest F32.
HWY_INLINE hn::Vec<DF> Stored(const ScaleRounding& rounding,
                              hn::Vec<DD> value) {
  const DF df;
  const DU du;
  const hn::Vec<DF> nearest = hn::DemoteTo(df, value);
  if (rounding.dropped == 0) return nearest;
  const auto bits = hn::BitCast(du, nearest);
  // 1 where the nearest float is below: the next one has the next code.
  const hn::Vec<DF> short_of = hn::DemoteTo(
      df, hn::IfThenElseZero(hn::Lt(hn::PromoteTo(DD(), nearest), value),
                             hn::Set(DD(), 1.0)));
  const auto next = hn::BitCast(du, hn::ConvertTo(DI(), short_of));
  const auto dropped = hn::Set(du, rounding.dropped);
  const auto up = hn::Add(hn::Add(bits, next), dropped);
  return hn::BitCast(df, hn::AndNot(dropped, up));
}

// kLanes groups; zeros as int32.
HWY_INLINE void ScalesOf(const IntScaleRule& rule,
                         const ScaleRounding& rounding, const float* lo,
                         const float* hi, float* scales, int32_t* zeros) {
  const DF df;
  const DD dd;
  const auto low = hn::PromoteTo(dd, hn::Min(hn::LoadU(df, lo), hn::Zero(df)));
  const auto high = hn::PromoteTo(dd, hn::Max(hn::LoadU(df, hi), hn::Zero(df)));
  const auto width =
      rule.symmetric ? hn::Mul(hn::Set(dd, 2.0), hn::Max(hn::Neg(low), high))
                     : hn::Sub(high, low);
  const auto steps = hn::Set(dd, static_cast<double>(rule.q_max - rule.q_min));
  auto scale = Stored(rounding, hn::Div(width, steps));
  const auto ordinary = hn::And(hn::Ge(scale, hn::Set(df, rounding.least)),
                                hn::Le(scale, hn::Set(df, rounding.greatest)));
  // A divisor for lanes that are not: their zero point is not used.
  scale = hn::IfThenElse(ordinary, scale, hn::Set(df, 1.0f));
  hn::StoreU(hn::IfThenElseZero(ordinary, scale), df, scales);
  if (rule.symmetric) return;
  const auto q_min = hn::Set(dd, static_cast<double>(rule.q_min));
  const auto q_max = hn::Set(dd, static_cast<double>(rule.q_max));
  const auto zero =
      hn::Round(hn::Sub(q_min, hn::Div(low, hn::PromoteTo(dd, scale))));
  hn::StoreU(hn::DemoteTo(DI(), hn::Min(hn::Max(zero, q_min), q_max)), DI(),
             zeros);
}

void IntScalesImpl(const IntScaleRule& rule, const float* lo, const float* hi,
                   int64_t n, float* scales, int8_t* zeros) {
  const ScaleRounding rounding = RoundingOf(rule.scale_type);
  int32_t zero[kMaxLanes] = {};
  const auto store_zeros = [&](int64_t i, int64_t count) {
    if (rule.symmetric) return;
    for (int64_t k = 0; k < count; ++k) {
      zeros[i + k] = static_cast<int8_t>(zero[k]);
    }
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    ScalesOf(rule, rounding, lo + i, hi + i, scales + i, zero);
    store_zeros(i, kLanes);
  }
  if (i == n) return;
  const int64_t count = n - i;
  float padded_lo[kMaxLanes] = {};
  float padded_hi[kMaxLanes] = {};
  float found[kMaxLanes];
  std::copy_n(lo + i, count, padded_lo);
  std::copy_n(hi + i, count, padded_hi);
  ScalesOf(rule, rounding, padded_lo, padded_hi, found, zero);
  std::copy_n(found, count, scales + i);
  store_zeros(i, count);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(IntScalesImpl);

void IntScales(const IntScaleRule& rule, const float* lo, const float* hi,
               int64_t n, float* scales, int8_t* zeros) {
  HWY_DYNAMIC_DISPATCH(IntScalesImpl)(rule, lo, hi, n, scales, zeros);
}

}  // namespace quant
#endif  // HWY_ONCE

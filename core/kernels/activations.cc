#include "core/kernels/activations.h"

#include <algorithm>
#include <limits>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/activations.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

HWY_INLINE VF Splat(float v) { return hn::Set(DF(), v); }

HWY_INLINE VF Exp(VF t) {
  constexpr float kLeast = -87, kMost = 88;
  const VF v = hn::Min(hn::Max(t, Splat(kLeast)), Splat(kMost));
  const auto n = hn::NearestInt(hn::Mul(v, Splat(1.44269504f)));  // 1 / ln 2
  const VF whole = hn::ConvertTo(DF(), n);
  // The first part of ln 2 has few enough bits for an exact product.
  VF r = hn::Sub(v, hn::Mul(whole, Splat(0.693359375f)));
  r = hn::Sub(r, hn::Mul(whole, Splat(-2.12194440e-4f)));
  VF p = Splat(1.0f / 5040);
  for (float inverse : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f}) {
    p = hn::Add(hn::Mul(p, r), Splat(inverse));
  }
  p = hn::Add(hn::Add(hn::Mul(hn::Mul(p, r), r), r), Splat(1));
  const auto bits = hn::Add(hn::BitCast(DI(), p), hn::ShiftLeft<23>(n));
  const VF e =
      hn::IfThenZeroElse(hn::Lt(t, Splat(kLeast)), hn::BitCast(DF(), bits));
  return hn::IfThenElse(hn::IsNaN(t), t, e);
}

// With a NaN among them it does not matter what this finds.
float MaxOf(const float* x, int64_t n) {
  VF most = Splat(x[0]);
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    most = hn::Max(most, hn::LoadU(DF(), x + i));
  }
  float result = hn::GetLane(hn::MaxOfLanes(DF(), most));
  for (; i < n; ++i) result = std::max(result, x[i]);
  return result;
}

void SoftmaxImpl(float* x, int64_t n) {
  const VF most = Splat(MaxOf(x, n));
  VF sums[kRegisters];
  std::fill_n(sums, kRegisters, hn::Zero(DF()));
  const auto exponentiate = [&](float* at) HWY_ATTR {
    for (int r = 0; r < kRegisters; ++r) {
      float* part = at + r * kFloatLanes;
      const VF e = Exp(hn::Sub(hn::LoadU(DF(), part), most));
      sums[r] = hn::Add(sums[r], e);
      hn::StoreU(e, DF(), part);
    }
  };
  const int64_t whole = n / kVirtualLanes * kVirtualLanes;
  for (int64_t i = 0; i < whole; i += kVirtualLanes) exponentiate(x + i);
  if (whole != n) {
    float padded[kVirtualLanes];
    std::fill_n(padded, kVirtualLanes, -std::numeric_limits<float>::infinity());
    std::copy(x + whole, x + n, padded);
    exponentiate(padded);
    std::copy_n(padded, n - whole, x + whole);
  }
  float lanes[kVirtualLanes];
  for (int r = 0; r < kRegisters; ++r) {
    hn::StoreU(sums[r], DF(), lanes + r * kFloatLanes);
  }
  double wide[kVirtualLanes];
  std::copy_n(lanes, kVirtualLanes, wide);
  const auto scale = static_cast<float>(1 / CombineLanes(wide));
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(DF(), x + i), Splat(scale)), DF(), x + i);
  }
  for (; i < n; ++i) x[i] *= scale;
}

HWY_INLINE VF SiluTimesRegister(VF gate, VF up) {
  const VF e = Exp(hn::Neg(gate));
  return hn::Mul(hn::Div(gate, hn::Add(Splat(1), e)), up);
}

void SiluTimesImpl(const float* gate, const float* up, int64_t n, float* out) {
  const DF df;
  int64_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    hn::StoreU(
        SiluTimesRegister(hn::LoadU(df, gate + i), hn::LoadU(df, up + i)), df,
        out + i);
  }
  if (i == n) return;
  float rest[3][kVirtualLanes] = {};
  std::copy(gate + i, gate + n, rest[0]);
  std::copy(up + i, up + n, rest[1]);
  hn::StoreU(SiluTimesRegister(hn::LoadU(df, rest[0]), hn::LoadU(df, rest[1])),
             df, rest[2]);
  std::copy_n(rest[2], n - i, out + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(SoftmaxImpl);
HWY_EXPORT(SiluTimesImpl);

void Softmax(float* x, int64_t n) {
  if (n > 0) HWY_DYNAMIC_DISPATCH(SoftmaxImpl)(x, n);
}

void SiluTimes(const float* gate, const float* up, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(SiluTimesImpl)(gate, up, n, out);
}

}  // namespace quant
#endif  // HWY_ONCE

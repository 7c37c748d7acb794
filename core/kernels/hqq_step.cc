#include "core/kernels/hqq_step.h"

#include <cstring>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/hqq_step.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

// Part 0 or 1 of a register of floats, as doubles.
template <int kPart>
HWY_INLINE VD PartOf(VF v) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kPart == 1) {
    return hn::PromoteTo(DD(), hn::UpperHalf(DH(), v));
  }
#endif
  return hn::PromoteTo(DD(), hn::LowerHalf(DH(), v));
}

struct HqqLanes {
  VD noise[kParts * kRegisters];
  VD u[kParts * kRegisters];
  VD d[kParts * kRegisters];
  VD ud[kParts * kRegisters];
  VD dd[kParts * kRegisters];

  HqqLanes() {
    for (int i = 0; i < kParts * kRegisters; ++i) {
      noise[i] = u[i] = d[i] = ud[i] = dd[i] = hn::Zero(DD());
    }
  }

  // Products of two promoted floats are exact: it does not matter whether they
  // are fused with the addition.
  template <int kPart>
  HWY_INLINE void AddPart(int r, VF error, VF target, VF code) {
    const int i = kParts * r + kPart;
    const VD e = PartOf<kPart>(error);
    const VD t = PartOf<kPart>(target);
    const VD c = PartOf<kPart>(code);
    noise[i] = hn::MulAdd(e, e, noise[i]);
    u[i] = hn::Add(u[i], t);
    d[i] = hn::Add(d[i], c);
    ud[i] = hn::MulAdd(t, c, ud[i]);
    dd[i] = hn::MulAdd(c, c, dd[i]);
  }

  HWY_INLINE void Add(int r, VF error, VF target, VF code) {
    AddPart<0>(r, error, target, code);
    if constexpr (kParts == 2) AddPart<1>(r, error, target, code);
  }

  static double Sum(const VD (&parts)[kParts * kRegisters]) {
    double lanes[kVirtualLanes];
    for (int i = 0; i < kParts * kRegisters; ++i) {
      hn::StoreU(parts[i], DD(), lanes + i * kDoubleLanes);
    }
    return CombineLanes(lanes);
  }
};

HWY_INLINE void StepRegister(const HqqGroup& group, VF x, int r,
                             HqqLanes& lanes) {
  const DF df;
  const DI di;
  const VF scale = hn::Set(df, group.scale);
  const auto zero = hn::Set(di, group.zero);
  // Clamped so that the conversion to int can't overflow.
  const VF steps = hn::Min(hn::Max(hn::Div(x, scale), hn::Set(df, -1024.0f)),
                           hn::Set(df, 1024.0f));
  const auto q = hn::Min(
      hn::Max(hn::Add(hn::NearestInt(steps), zero), hn::Set(di, group.q_min)),
      hn::Set(di, group.q_max));
  const VF code = hn::ConvertTo(df, hn::Sub(q, zero));
  const VF error = hn::Sub(hn::Mul(code, scale), x);
  const VF missed = hn::Sub(steps, code);
  const VF size = hn::Abs(missed);
  const VF root =
      hn::Sqrt(hn::Sqrt(hn::Max(size, hn::Set(df, kHqqSmallestMiss))));
  const VF kept =
      hn::Max(hn::Sub(size, hn::Div(hn::Set(df, group.inverse_beta), root)),
              hn::Zero(df));
  lanes.Add(r, error, hn::Sub(steps, hn::CopySign(kept, missed)), code);
}

HqqSums HqqStepImpl(const HqqGroup& group, const float* x) {
  HqqLanes lanes;
  const int64_t whole = group.n / kVirtualLanes * kVirtualLanes;
  for (int64_t i = 0; i < whole; i += kVirtualLanes) {
    for (int r = 0; r < kRegisters; ++r) {
      StepRegister(group, hn::LoadU(DF(), x + i + r * kFloatLanes), r, lanes);
    }
  }
  if (whole != group.n) {
    // A zero has code d = 0 without a miss, so padding adds nothing.
    float padded[kVirtualLanes] = {};
    std::memcpy(padded, x + whole, (group.n - whole) * sizeof(float));
    for (int r = 0; r < kRegisters; ++r) {
      StepRegister(group, hn::LoadU(DF(), padded + r * kFloatLanes), r, lanes);
    }
  }
  return {.noise = HqqLanes::Sum(lanes.noise),
          .u = HqqLanes::Sum(lanes.u),
          .d = HqqLanes::Sum(lanes.d),
          .ud = HqqLanes::Sum(lanes.ud),
          .dd = HqqLanes::Sum(lanes.dd)};
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(HqqStepImpl);

HqqSums HqqStep(const HqqGroup& group, const float* x) {
  return HWY_DYNAMIC_DISPATCH(HqqStepImpl)(group, x);
}

}  // namespace quant
#endif  // HWY_ONCE

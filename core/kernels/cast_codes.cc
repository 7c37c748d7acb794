#include "core/kernels/cast_codes.h"

#include <cstring>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/cast_codes.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using VU = hn::Vec<DU>;

// Rounds away the low `kShift` bits, half to even.
template <int kShift>
HWY_INLINE VU RoundBits(VU bits) {
  const DU du;
  const VU odd = hn::And(hn::ShiftRight<kShift>(bits), hn::Set(du, 1u));
  return hn::ShiftRight<kShift>(
      hn::Add(hn::Add(bits, hn::Set(du, (1u << (kShift - 1)) - 1)), odd));
}

// |x| -> BF16 bits without sign, and their value.
struct Bf16Cast {
  static HWY_INLINE VU Code(VF x) {
    return RoundBits<16>(hn::BitCast(DU(), x));
  }
  static HWY_INLINE VF Value(VU code) {
    return hn::BitCast(DF(), hn::ShiftLeft<16>(code));
  }
};

// |x| -> F16 bits without sign, and their value. Exponents are rebiased by 112
// = 127 - 15; below 2^-14 codes are multiples of 2^-24.
struct F16Cast {
  static constexpr float kMinNormal = 6.103515625e-05f;  // 2^-14
  static constexpr float kStepInverse = 16777216.0f;     // 2^24
  static constexpr uint32_t kInfinity = 0x7C00;

  static HWY_INLINE VU Code(VF x) {
    const DF df;
    const DU du;
    const VU normal = hn::Min(
        hn::Sub(RoundBits<13>(hn::BitCast(du, x)), hn::Set(du, 112u << 10)),
        hn::Set(du, kInfinity));
    const auto is_subnormal = hn::Lt(x, hn::Set(df, kMinNormal));
    // Large values would not fit an int; their result is not used.
    const VF small = hn::Min(x, hn::Set(df, 1.0f));
    const VU subnormal = hn::BitCast(
        du, hn::NearestInt(hn::Mul(small, hn::Set(df, kStepInverse))));
    return hn::IfThenElse(hn::RebindMask(du, is_subnormal), subnormal, normal);
  }

  static HWY_INLINE VF Value(VU code) {
    const DF df;
    const DU du;
    const VF normal = hn::BitCast(
        df, hn::Add(hn::ShiftLeft<13>(code), hn::Set(du, 112u << 23)));
    const VF subnormal = hn::Mul(hn::ConvertTo(df, hn::BitCast(DI(), code)),
                                 hn::Set(df, 1.0f / kStepInverse));
    const VF finite =
        hn::IfThenElse(hn::RebindMask(df, hn::Lt(code, hn::Set(du, 1u << 10))),
                       subnormal, normal);
    const VF infinity = hn::BitCast(df, hn::Set(du, 0x7F800000u));
    return hn::IfThenElse(
        hn::RebindMask(df, hn::Eq(code, hn::Set(du, kInfinity))), infinity,
        finite);
  }
};

// 16 elements.
template <class Cast>
HWY_INLINE void EncodeBlock(const float* x, uint16_t* out, Accumulators& acc,
                            LaneSums& counts) {
  const DF df;
  const DU du;
  const hn::Rebind<uint16_t, DI> du16;
  const VF infinity = hn::BitCast(df, hn::Set(du, 0x7F800000u));
  for (int r = 0; r < kRegisters; ++r) {
    const VF w = hn::LoadU(df, x + r * kFloatLanes);
    const VF magnitude = hn::Abs(w);
    const VU code = Cast::Code(magnitude);
    const VF back = Cast::Value(code);
    const auto overflow = hn::Eq(back, infinity);
    const auto underflow =
        hn::And(hn::Eq(back, hn::Zero(df)), hn::Ne(magnitude, hn::Zero(df)));
    counts.overflow += hn::CountTrue(df, overflow);
    counts.underflow += hn::CountTrue(df, underflow);
    acc.Add(r, w, hn::IfThenZeroElse(overflow, hn::Sub(back, magnitude)));
    const VU sign = hn::ShiftLeft<15>(hn::ShiftRight<31>(hn::BitCast(du, w)));
    hn::StoreU(hn::DemoteTo(du16, hn::BitCast(DI(), hn::Or(code, sign))), du16,
               out + r * kFloatLanes);
  }
}

template <class Cast>
void EncodeRow(const float* x, int64_t n, uint16_t* out, LaneSums& sums) {
  Accumulators acc(sums);
  int64_t i = 0;
  for (; i + kVirtualLanes <= n; i += kVirtualLanes) {
    EncodeBlock<Cast>(x + i, out + i, acc, sums);
  }
  if (i < n) {
    // A zero is cast without error, so padding adds nothing.
    float padded[kVirtualLanes] = {};
    uint16_t padded_out[kVirtualLanes];
    std::memcpy(padded, x + i, (n - i) * sizeof(float));
    EncodeBlock<Cast>(padded, padded_out, acc, sums);
    std::memcpy(out + i, padded_out, (n - i) * sizeof(uint16_t));
  }
  acc.Store(sums);
}

void EncodeF16(const float* x, int64_t n, uint16_t* out, LaneSums& sums) {
  EncodeRow<F16Cast>(x, n, out, sums);
}

void EncodeBf16(const float* x, int64_t n, uint16_t* out, LaneSums& sums) {
  EncodeRow<Bf16Cast>(x, n, out, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(EncodeF16);
HWY_EXPORT(EncodeBf16);

void EncodeHalfRow(HalfKind kind, const float* x, int64_t n, uint16_t* out,
                   LaneSums& sums) {
  if (kind == HalfKind::kF16) {
    HWY_DYNAMIC_DISPATCH(EncodeF16)(x, n, out, sums);
  } else {
    HWY_DYNAMIC_DISPATCH(EncodeBf16)(x, n, out, sums);
  }
}

}  // namespace quant
#endif  // HWY_ONCE

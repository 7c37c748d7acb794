#include "core/kernels/fp8_codes.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/kernels/simd.h"
#include "core/tensor/float_formats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/fp8_codes.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
// Layout of a small float: sign, exponent with bias, kMantissa bits.
template <Fp8Kind kKind>
struct Layout;
template <>
struct Layout<Fp8Kind::kE4M3> {
  static constexpr int kMantissa = 3;
  static constexpr int kBias = 7;
  static constexpr float kMax = 448.0f;
  static constexpr float kMinNormal = 0.015625f;         // 2^-6
  static constexpr float kSubnormalStepInverse = 512.f;  // 2^9
};
template <>
struct Layout<Fp8Kind::kE5M2> {
  static constexpr int kMantissa = 2;
  static constexpr int kBias = 15;
  static constexpr float kMax = 57344.0f;
  static constexpr float kMinNormal = 6.103515625e-05f;    // 2^-14
  static constexpr float kSubnormalStepInverse = 65536.f;  // 2^16
};

// |values| -> codes without sign. Normal numbers: round the float32 mantissa to
// kMantissa bits, half to even, by adding just under half of the last kept bit
// plus that bit; the carry runs into the exponent, which is where it belongs.
// Subnormal numbers are multiples of one step. `values` >= 0.
template <Fp8Kind kKind>
HWY_INLINE hn::Vec<DU> CodesOf(hn::Vec<DF> values) {
  using L = Layout<kKind>;
  const DF df;
  const DU du;
  constexpr int kShift = 23 - L::kMantissa;
  const auto clamped = hn::Min(values, hn::Set(df, L::kMax));
  const auto bits = hn::BitCast(du, clamped);
  const auto odd = hn::And(hn::ShiftRight<kShift>(bits), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<kShift>(
      hn::Add(hn::Add(bits, hn::Set(du, (1u << (kShift - 1)) - 1)), odd));
  const auto normal = hn::Sub(
      rounded,
      hn::Set(du, static_cast<uint32_t>(127 - L::kBias) << L::kMantissa));
  const auto subnormal = hn::BitCast(
      du,
      hn::NearestInt(hn::Mul(clamped, hn::Set(df, L::kSubnormalStepInverse))));
  const auto is_subnormal =
      hn::RebindMask(du, hn::Lt(clamped, hn::Set(df, L::kMinNormal)));
  return hn::IfThenElse(is_subnormal, subnormal, normal);
}

// The values of codes without sign: the inverse of CodesOf.
template <Fp8Kind kKind>
HWY_INLINE VF ValuesOf(hn::Vec<DU> codes) {
  using L = Layout<kKind>;
  const DF df;
  const DU du;
  const DI di;
  constexpr int kShift = 23 - L::kMantissa;
  const auto normal = hn::BitCast(
      df, hn::Add(hn::ShiftLeft<kShift>(codes),
                  hn::Set(du, static_cast<uint32_t>(127 - L::kBias) << 23)));
  const auto subnormal = hn::Mul(hn::ConvertTo(df, hn::BitCast(di, codes)),
                                 hn::Set(df, 1.0f / L::kSubnormalStepInverse));
  const auto is_subnormal =
      hn::RebindMask(df, hn::Lt(codes, hn::Set(du, 1u << L::kMantissa)));
  return hn::IfThenElse(is_subnormal, subnormal, normal);
}

// 16 elements.
template <Fp8Kind kKind>
HWY_INLINE void EncodeBlock(VF scale, const float* x, uint8_t* codes,
                            Accumulators& acc) {
  const DF df;
  const DU du;
  const hn::Rebind<uint8_t, DI> du8;
  for (int r = 0; r < kRegisters; ++r) {
    const VF w = hn::LoadU(df, x + r * kFloatLanes);
    const VF value = hn::Div(w, scale);
    const auto code = CodesOf<kKind>(hn::Abs(value));
    const VF back =
        hn::Mul(hn::CopySignToAbs(ValuesOf<kKind>(code), value), scale);
    acc.Add(r, w, hn::Sub(back, w));
    const auto sign =
        hn::ShiftLeft<7>(hn::ShiftRight<31>(hn::BitCast(du, value)));
    hn::StoreU(hn::DemoteTo(du8, hn::BitCast(DI(), hn::Or(code, sign))), du8,
               codes + r * kFloatLanes);
  }
}

template <Fp8Kind kKind>
void EncodeImpl(const Fp8Row& row, const float* x, uint8_t* codes,
                LaneSums& sums) {
  Accumulators acc(sums);
  for (int64_t begin = 0, g = 0; begin < row.n; begin += row.group, ++g) {
    const int64_t n = std::min(row.group, row.n - begin);
    const VF scale = hn::Set(DF(), row.scales[g]);
    int64_t i = begin;
    for (; i + kVirtualLanes <= begin + n; i += kVirtualLanes) {
      EncodeBlock<kKind>(scale, x + i, codes + i, acc);
    }
    const int64_t rest = begin + n - i;
    if (rest == 0) continue;
    // A zero encodes without error, so padding adds nothing.
    float padded[kVirtualLanes] = {};
    uint8_t padded_codes[kVirtualLanes];
    std::memcpy(padded, x + i, rest * sizeof(float));
    EncodeBlock<kKind>(scale, padded, padded_codes, acc);
    std::memcpy(codes + i, padded_codes, rest);
  }
  acc.Store(sums);
}

void EncodeE4m3(const Fp8Row& row, const float* x, uint8_t* codes,
                LaneSums& sums) {
  EncodeImpl<Fp8Kind::kE4M3>(row, x, codes, sums);
}

void EncodeE5m2(const Fp8Row& row, const float* x, uint8_t* codes,
                LaneSums& sums) {
  EncodeImpl<Fp8Kind::kE5M2>(row, x, codes, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
namespace {

HWY_EXPORT(EncodeE4m3);
HWY_EXPORT(EncodeE5m2);

std::array<float, 256> MakeTable(float (*decode)(uint8_t)) {
  std::array<float, 256> table;
  for (int i = 0; i < 256; ++i) table[i] = decode(static_cast<uint8_t>(i));
  return table;
}

const std::array<float, 256>& TableOf(Fp8Kind kind) {
  static const std::array<float, 256> e4m3 = MakeTable(E4m3ToF32);
  static const std::array<float, 256> e5m2 = MakeTable(E5m2ToF32);
  return kind == Fp8Kind::kE4M3 ? e4m3 : e5m2;
}

}  // namespace

void EncodeFp8Row(const Fp8Row& row, const float* x, uint8_t* codes,
                  LaneSums& sums) {
  if (row.kind == Fp8Kind::kE4M3) {
    HWY_DYNAMIC_DISPATCH(EncodeE4m3)(row, x, codes, sums);
  } else {
    HWY_DYNAMIC_DISPATCH(EncodeE5m2)(row, x, codes, sums);
  }
}

void DecodeFp8Row(const Fp8Row& row, const uint8_t* codes, float* out) {
  const std::array<float, 256>& table = TableOf(row.kind);
  for (int64_t i = 0; i < row.n; ++i) {
    out[i] = table[codes[i]] * row.scales[i / row.group];
  }
}

}  // namespace quant
#endif  // HWY_ONCE

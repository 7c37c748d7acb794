#include "core/kernels/int_codes.h"

#include <algorithm>
#include <cstring>

#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/int_codes.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

// Shared by all targets.
#ifndef QUANT_CORE_KERNELS_INT_CODES_ONCE_
#define QUANT_CORE_KERNELS_INT_CODES_ONCE_
namespace quant {
// A quotient of two 11-bit significands is a tie (k + 1/2) exactly, or at least
// 2^-13 away from one. x * (1/s) is off by less than 2^-15 for |x / s| <= 256.
// Adding and subtracting 768 = 1.5 * 2^9 rounds to a multiple of 2^-14: ties
// become exact again and nothing else becomes a tie. Values beyond 256 are
// clamped anyway.
inline constexpr float kSnap = 768.0f;
// Below this a reciprocal may be subnormal's inverse and overflow.
inline constexpr float kSmallestInvertible = 1e-30f;
}  // namespace quant
#endif

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
// How one group is encoded.
struct GroupParams {
  VF scale;
  VF inverse;
  hn::Vec<DI> zero;
  hn::Vec<DI> q_min;
  hn::Vec<DI> q_max;
};

// 16 elements.
template <bool kNarrow>
HWY_INLINE void EncodeBlock(const GroupParams& p, const float* x, int8_t* codes,
                            Accumulators& acc) {
  const DF df;
  const hn::Rebind<int8_t, DI> di8;
  for (int r = 0; r < kRegisters; ++r) {
    const VF w = hn::LoadU(df, x + r * kFloatLanes);
    VF t;
    if constexpr (kNarrow) {
      const VF snap = hn::Set(df, kSnap);
      t = hn::Sub(hn::Add(hn::Mul(w, p.inverse), snap), snap);
    } else {
      // Clamped so that the conversion to int can't overflow.
      t = hn::Min(hn::Max(hn::Div(w, p.scale), hn::Set(df, -1024.0f)),
                  hn::Set(df, 1024.0f));
    }
    const auto q =
        hn::Min(hn::Max(hn::Add(hn::NearestInt(t), p.zero), p.q_min), p.q_max);
    const VF back = hn::Mul(hn::ConvertTo(df, hn::Sub(q, p.zero)), p.scale);
    acc.Add(r, w, hn::Sub(back, w));
    hn::StoreU(hn::DemoteTo(di8, q), di8, codes + r * kFloatLanes);
  }
}

template <bool kNarrow>
HWY_INLINE void EncodeGroup(const GroupParams& p, const float* x, int64_t n,
                            int8_t* codes, Accumulators& acc) {
  int64_t i = 0;
  for (; i + kVirtualLanes <= n; i += kVirtualLanes) {
    EncodeBlock<kNarrow>(p, x + i, codes + i, acc);
  }
  if (i == n) return;
  // A zero encodes without error, so padding adds nothing.
  float padded[kVirtualLanes] = {};
  int8_t padded_codes[kVirtualLanes];
  std::memcpy(padded, x + i, (n - i) * sizeof(float));
  EncodeBlock<kNarrow>(p, padded, padded_codes, acc);
  std::memcpy(codes + i, padded_codes, n - i);
}

void EncodeIntRowImpl(const IntRow& row, const float* x, int8_t* codes,
                      LaneSums& sums) {
  const DF df;
  const DI di;
  Accumulators acc(sums);
  GroupParams p;
  p.q_min = hn::Set(di, row.q_min);
  p.q_max = hn::Set(di, row.q_max);
  for (int64_t begin = 0, g = 0; begin < row.n; begin += row.group, ++g) {
    const int64_t n = std::min(row.group, row.n - begin);
    const float scale = row.scales[g];
    p.scale = hn::Set(df, scale);
    p.inverse = hn::Set(df, 1.0f / scale);
    p.zero = hn::Set(di, row.zero_points ? row.zero_points[g] : 0);
    if (row.narrow && scale > kSmallestInvertible) {
      EncodeGroup<true>(p, x + begin, n, codes + begin, acc);
    } else {
      EncodeGroup<false>(p, x + begin, n, codes + begin, acc);
    }
  }
  acc.Store(sums);
}

void DecodeIntRowImpl(const IntRow& row, const int8_t* codes, float* out) {
  const DF df;
  const DI di;
  const hn::Rebind<int8_t, DI> di8;
  for (int64_t begin = 0, g = 0; begin < row.n; begin += row.group, ++g) {
    const int64_t end = std::min(begin + row.group, row.n);
    const int zero = row.zero_points ? row.zero_points[g] : 0;
    const float scale = row.scales[g];
    int64_t i = begin;
    for (; i + kFloatLanes <= end; i += kFloatLanes) {
      const auto q = hn::PromoteTo(di, hn::LoadU(di8, codes + i));
      const VF value = hn::ConvertTo(df, hn::Sub(q, hn::Set(di, zero)));
      hn::StoreU(hn::Mul(value, hn::Set(df, scale)), df, out + i);
    }
    for (; i < end; ++i) {
      out[i] = static_cast<float>(codes[i] - zero) * scale;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {

HWY_EXPORT(EncodeIntRowImpl);
HWY_EXPORT(DecodeIntRowImpl);

void EncodeIntRow(const IntRow& row, const float* x, int8_t* codes,
                  LaneSums& sums) {
  HWY_DYNAMIC_DISPATCH(EncodeIntRowImpl)(row, x, codes, sums);
}

void DecodeIntRow(const IntRow& row, const int8_t* codes, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeIntRowImpl)(row, codes, out);
}

}  // namespace quant
#endif  // HWY_ONCE

// Blocks of integer codes (see int_codes.h for the formula), for rows of floats
// and for the 16-bit floats of a source file. Included once per target by each
// kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_INT_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_INT_BLOCKS_INL_H_
#undef QUANT_CORE_KERNELS_INT_BLOCKS_INL_H_
#else
#define QUANT_CORE_KERNELS_INT_BLOCKS_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "core/kernels/accumulate-inl.h"
#include "core/kernels/int_codes.h"
#include "hwy/highway.h"

// Shared by all targets.
#ifndef QUANT_CORE_KERNELS_INT_BLOCKS_ONCE_
#define QUANT_CORE_KERNELS_INT_BLOCKS_ONCE_
namespace quant {
// A quotient of two 11-bit significands is a tie (k + 1/2) exactly, or at least
// 2^-13 away from one. x * (1/s) is off by less than 2^-15 for |x / s| <= 256,
// and adding 768 = 1.5 * 2^9 rounds it to a multiple of 2^-14, be it in one
// operation with the product or after it: ties become exact again and nothing
// else becomes a tie. Values beyond 256 are clamped anyway.
inline constexpr float kSnap = 768.0f;
// Adding 1.5 * 2^23 then rounds to an integer, ties to even (both constants are
// even), and leaves the integer's two's complement in the low bits.
inline constexpr float kInteger = 12582912.0f;
// Below this a reciprocal may be subnormal's inverse and overflow, above this a
// code's value may; in between both are exact.
inline constexpr float kSmallestInvertible = 1e-30f;
inline constexpr float kLargestInvertible = 1e30f;
}  // namespace quant
#endif

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

// Where elements come from: kFloatLanes of them, from p on.
struct FloatSource {
  using Element = float;
  static HWY_INLINE VF At(const float* p) { return hn::LoadU(DF(), p); }
};
struct Bf16Source {
  using Element = uint16_t;
  static HWY_INLINE VF At(const uint16_t* p) {
    const hn::Rebind<uint16_t, DF> du16;
    return hn::BitCast(
        DF(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), hn::LoadU(du16, p))));
  }
};
struct F16Source {  // finite
  using Element = uint16_t;
  static HWY_INLINE VF At(const uint16_t* p) {
    const hn::Rebind<hwy::float16_t, DF> df16;
    return hn::PromoteTo(
        DF(), hn::LoadU(df16, reinterpret_cast<const hwy::float16_t*>(p)));
  }
};

// How one group is encoded.
struct GroupParams {
  VF scale;
  VF inverse;
  VF lowest;  // q_min - zero, on top of kInteger
  VF highest;
  hn::Vec<DI> zero;
  hn::Vec<DI> q_min;
  hn::Vec<DI> q_max;
};

HWY_INLINE GroupParams ParamsOf(const IntRow& row, int64_t group) {
  const float scale = row.scales[group];
  const int zero = row.zero_points ? row.zero_points[group] : 0;
  const DF df;
  const DI di;
  return {
      .scale = hn::Set(df, scale),
      .inverse = hn::Set(df, 1.0f / scale),
      .lowest = hn::Set(df, kInteger + static_cast<float>(row.q_min - zero)),
      .highest = hn::Set(df, kInteger + static_cast<float>(row.q_max - zero)),
      .zero = hn::Set(di, zero),
      .q_min = hn::Set(di, row.q_min),
      .q_max = hn::Set(di, row.q_max)};
}

// Codes of one register, in the low bytes, and the errors of their values.
template <bool kNarrow>
HWY_INLINE hn::Vec<DI> EncodeRegister(const GroupParams& p, VF w, VF* error) {
  const DF df;
  if constexpr (kNarrow) {
    const DI di;
    const VF snapped = hn::MulAdd(w, p.inverse, hn::Set(df, kSnap));
    const VF sum = hn::Min(
        hn::Max(hn::Add(snapped, hn::Set(df, kInteger - kSnap)), p.lowest),
        p.highest);
    const VF steps = hn::Sub(sum, hn::Set(df, kInteger));
    // The product has at most 8 + 11 bits: exact, fused or not.
    *error = hn::MulSub(steps, p.scale, w);
    return hn::Add(hn::BitCast(di, sum), p.zero);
  } else {
    // Clamped so that the conversion to int can't overflow.
    const VF t = hn::Min(hn::Max(hn::Div(w, p.scale), hn::Set(df, -1024.0f)),
                         hn::Set(df, 1024.0f));
    const auto q =
        hn::Min(hn::Max(hn::Add(hn::NearestInt(t), p.zero), p.q_min), p.q_max);
    const VF back = hn::Mul(hn::ConvertTo(df, hn::Sub(q, p.zero)), p.scale);
    *error = hn::Sub(back, w);
    return q;
  }
}

// 16 elements.
template <class Source, bool kNarrow, class Sums>
HWY_INLINE void EncodeBlock(const GroupParams& p,
                            const typename Source::Element* x, int8_t* codes,
                            Sums& sums) {
  const hn::Rebind<uint8_t, DI> du8;
  for (int r = 0; r < kRegisters; ++r) {
    const VF w = Source::At(x + r * kFloatLanes);
    VF error;
    const auto q = EncodeRegister<kNarrow>(p, w, &error);
    hn::StoreU(hn::TruncateTo(du8, hn::BitCast(DU(), q)), du8,
               reinterpret_cast<uint8_t*>(codes) + r * kFloatLanes);
    sums.Add(r, w, error);
  }
}

template <class Source, bool kNarrow, class Sums>
HWY_INLINE void EncodeBlocks(const GroupParams& p,
                             const typename Source::Element* x, int64_t n,
                             int8_t* codes, Sums& sums) {
  const int64_t whole = n / kVirtualLanes * kVirtualLanes;
  for (int64_t i = 0; i < whole; i += kVirtualLanes) {
    EncodeBlock<Source, kNarrow>(p, x + i, codes + i, sums);
  }
  if (whole == n) return;
  // A zero encodes without error, so padding adds nothing.
  typename Source::Element padded[kVirtualLanes] = {};
  int8_t padded_codes[kVirtualLanes];
  std::memcpy(padded, x + whole, (n - whole) * sizeof(padded[0]));
  EncodeBlock<Source, kNarrow>(p, padded, padded_codes, sums);
  std::memcpy(codes + whole, padded_codes, n - whole);
}

// Elements `begin` to `end` of a row, within one group.
template <class Source, class Sums>
HWY_INLINE void EncodePiece(const IntRow& row, int64_t begin, int64_t end,
                            const typename Source::Element* x, int8_t* codes,
                            Sums& sums) {
  const int64_t group = begin / row.group;
  const GroupParams p = ParamsOf(row, group);
  if (row.narrow && row.scales[group] > kSmallestInvertible &&
      row.scales[group] < kLargestInvertible) {
    EncodeBlocks<Source, true>(p, x + begin, end - begin, codes + begin, sums);
  } else {
    EncodeBlocks<Source, false>(p, x + begin, end - begin, codes + begin, sums);
  }
}

template <class Source>
HWY_INLINE void EncodeRow(const IntRow& row, const typename Source::Element* x,
                          int8_t* codes, LaneSums& sums) {
  Accumulators acc(sums);
  const int64_t span = SummedTogether(row.group);
  for (int64_t begin = 0; begin < row.n; begin += span) {
    const auto encode = [&](int64_t i, int64_t count,
                            auto& run_sums) QUANT_INLINE_LAMBDA {
      const int64_t end = begin + i + count;
      for (int64_t at = begin + i; at < end;) {
        const int64_t next = std::min(end, (at / row.group + 1) * row.group);
        EncodePiece<Source>(row, at, next, x, codes, run_sums);
        at = next;
      }
    };
    AddInRuns(std::min(span, row.n - begin), acc, encode);
  }
  acc.Store(sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

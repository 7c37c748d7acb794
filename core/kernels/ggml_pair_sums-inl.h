// Sums of products of 16-bit integers, two elements per lane of 32 bits: what
// the searches for scales with equal weights have in common. Nothing is
// rounded but the codes.
//
//   v = clamp((F u + 2^14) >> 15, kLo, kHi),   sum(u v),   sum(v v)
//
// Legend: u element as an integer, v its code, F what turns one into the other,
// for each lane; lanes are blocks or sub-blocks, r is the first of a register.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_PAIR_SUMS_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_PAIR_SUMS_INL_H_
#undef QUANT_CORE_KERNELS_GGML_PAIR_SUMS_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_PAIR_SUMS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "core/kernels/lane_sums.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using PairFloats = hn::CappedTag<float, kVirtualLanes>;
using PairTag = hn::RebindToSigned<PairFloats>;
using PairVec = hn::Vec<PairTag>;

// The pairs of 16 lanes.
template <int kPairs>
struct alignas(64) PairLanes {
  int32_t pair[kPairs][kVirtualLanes];
};

// The nearest integers, ties to even; `low` in the low half. What has more than
// 16 bits loses those above.
HWY_INLINE PairVec PairOf(hn::Vec<PairFloats> low, hn::Vec<PairFloats> high) {
  const PairTag di;
  // Leaves the integer in the low bits.
  const auto magic = hn::Set(PairFloats(), 0x1.8p23f);
  const PairVec a = hn::BitCast(di, hn::Add(low, magic));
  const PairVec b = hn::BitCast(di, hn::Add(high, magic));
#if HWY_TARGET == HWY_SCALAR
  return hn::Or(hn::And(a, hn::Set(di, 0xFFFF)), hn::ShiftLeft<16>(b));
#else
  const hn::RepartitionToNarrow<PairTag> d16;
  return hn::BitCast(di, hn::OddEven(hn::BitCast(d16, hn::ShiftLeft<16>(b)),
                                     hn::BitCast(d16, a)));
#endif
}

// v in both halves of every lane.
HWY_INLINE PairVec BothHalves(int v) {
  return hn::Set(PairTag(), static_cast<int32_t>(uint16_t(v) * 0x10001u));
}

struct PairSums {
  PairVec uv, vv;
};

// Of lanes r and on. `factor`: F of each lane, in both halves. kClipsLow:
// whether any code can be below kLo.
template <int kLo, int kHi, bool kClipsLow, int kPairs>
HWY_INLINE PairSums SumsOf(const PairLanes<kPairs>& lanes, int r,
                           PairVec factor) {
  const PairTag di;
#if HWY_TARGET == HWY_SCALAR
  const int32_t f = hn::GetLane(factor) >> 16;
  int32_t uv = 0, vv = 0;
  for (const auto& pair : lanes.pair) {
    for (const int32_t u :
         {int32_t{static_cast<int16_t>(pair[r])}, pair[r] >> 16}) {
      const int32_t v = std::clamp((f * u + (1 << 14)) >> 15, kLo, kHi);
      uv += u * v;
      vv += v * v;
    }
  }
  return {hn::Set(di, uv), hn::Set(di, vv)};
#else
  const hn::RepartitionToNarrow<PairTag> d16;
  const auto f = hn::BitCast(d16, factor);
  PairSums sums{hn::Zero(di), hn::Zero(di)};
  PairVec odd_uv = hn::Zero(di), odd_vv = odd_uv;  // where needed
  HWY_UNROLL(8)
  for (const auto& pair : lanes.pair) {
    const auto u = hn::BitCast(d16, hn::Load(di, pair + r));
    auto v = hn::Min(hn::MulFixedPoint15(u, f), hn::Set(d16, kHi));
    if constexpr (kClipsLow) v = hn::Max(v, hn::Set(d16, kLo));
    sums.uv = hn::ReorderWidenMulAccumulate(di, u, v, sums.uv, odd_uv);
    sums.vv = hn::ReorderWidenMulAccumulate(di, v, v, sums.vv, odd_vv);
  }
  sums.uv = hn::RearrangeToOddPlusEven(sums.uv, odd_uv);
  sums.vv = hn::RearrangeToOddPlusEven(sums.vv, odd_vv);
  return sums;
#endif
}

// sum(u u), of lanes r and on.
template <int kPairs>
HWY_INLINE PairVec EnergyOf(const PairLanes<kPairs>& lanes, int r) {
  const PairTag di;
#if HWY_TARGET == HWY_SCALAR
  int32_t uu = 0;
  for (const auto& pair : lanes.pair) {
    const int32_t low = static_cast<int16_t>(pair[r]), high = pair[r] >> 16;
    uu += low * low + high * high;
  }
  return hn::Set(di, uu);
#else
  const hn::RepartitionToNarrow<PairTag> d16;
  PairVec uu = hn::Zero(di), odd_uu = uu;
  for (const auto& pair : lanes.pair) {
    const auto u = hn::BitCast(d16, hn::Load(di, pair + r));
    uu = hn::ReorderWidenMulAccumulate(di, u, u, uu, odd_uu);
  }
  return hn::RearrangeToOddPlusEven(uu, odd_uu);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

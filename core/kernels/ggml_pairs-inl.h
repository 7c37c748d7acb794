// The search for the scale of Q4_0 and Q5_0 with equal weights, in integers of
// 16 bits: two elements per lane of 32 bits, and no rounding in the sums.
//
//   u_e = rint(2048 x_e / peak),   v_e = clamp((F u_e + 2^14) >> 15)
//   d = (peak / 2048) * sum(u v) / sum(v v)
//
// F maps the peak to F / 16 codes, negative to meet the longer end of the grid.
// The candidate with the largest sum(u v)^2 / sum(v v) wins, as in
// ggml_scale-inl.h. Rounding weights to 1/2048 of the peak moves d by less than
// 1e-4, which costs less than 1e-6 of the error that is left.
//
// Legend: as ggml_tile-inl.h; p pair of elements 2p, 2p + 1 (0..15).
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_
#undef QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_
#endif

#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kPairs = kTileElems / 2;
constexpr float kPairPeak = 2048;  // what the peak becomes
constexpr int kPairSteps = 16;     // of F per code

// Element 2p low, 2p + 1 high. [16 pairs][16 blocks]
struct PairTile {
  alignas(64) int32_t pairs[kPairs * kTileBlocks];
};

struct PairFit {
  VI uv;  // sum of u v
  VI vv;  // sum of v v
};

HWY_INLINE void LoadPairs(const Tile& tile, int r, VF unit, PairTile& out) {
  const DF df;
  const DI di;
  const VF magic = hn::Set(df, 0x1.8p23f);  // leaves the integer in low bits
  for (int p = 0; p < kPairs; ++p) {
    const float* x = tile.x + 2 * p * kTileBlocks + r * kFloatLanes;
    const VF a = hn::Add(hn::Mul(hn::Load(df, x), unit), magic);
    const VF b = hn::Add(hn::Mul(hn::Load(df, x + kTileBlocks), unit), magic);
    const VI low = hn::And(hn::BitCast(di, a), hn::Set(di, 0xFFFF));
    hn::Store(hn::Or(low, hn::ShiftLeft<16>(hn::BitCast(di, b))), di,
              out.pairs + p * kTileBlocks + r * kFloatLanes);
  }
}

// Codes kLo..kHi for the factor -f, which reaches below kLo if kClipsPeak.
template <int kLo, int kHi, bool kClipsPeak>
HWY_INLINE PairFit FitPairs(const PairTile& tile, int r, int f) {
  const DI di;
#if HWY_TARGET == HWY_SCALAR
  int32_t uv = 0, vv = 0;
  for (int p = 0; p < kPairs; ++p) {
    const int32_t pair = tile.pairs[p * kTileBlocks + r];
    for (const int32_t u : {int32_t{static_cast<int16_t>(pair)}, pair >> 16}) {
      const int32_t v = std::clamp((-f * u + (1 << 14)) >> 15, kLo, kHi);
      uv += u * v;
      vv += v * v;
    }
  }
  return {hn::Set(di, uv), hn::Set(di, vv)};
#else
  const hn::RepartitionToNarrow<DI> d16;
  const auto factor = hn::Set(d16, static_cast<int16_t>(-f));
  PairFit fit{hn::Zero(di), hn::Zero(di)};
  VI odd_uv = hn::Zero(di), odd_vv = odd_uv;  // where the target needs them
  HWY_UNROLL(4)
  for (int p = 0; p < kPairs; ++p) {
    const int32_t* at = tile.pairs + p * kTileBlocks + r * kFloatLanes;
    const auto u = hn::BitCast(d16, hn::Load(di, at));
    auto v = hn::Min(hn::MulFixedPoint15(u, factor), hn::Set(d16, kHi));
    if constexpr (kClipsPeak) v = hn::Max(v, hn::Set(d16, kLo));
    fit.uv = hn::ReorderWidenMulAccumulate(di, u, v, fit.uv, odd_uv);
    fit.vv = hn::ReorderWidenMulAccumulate(di, v, v, fit.vv, odd_vv);
  }
  fit.uv = hn::RearrangeToOddPlusEven(fit.uv, odd_uv);
  fit.vv = hn::RearrangeToOddPlusEven(fit.vv, odd_vv);
  return fit;
#endif
}

// The peak goes to -f / 16: it alone can lie below -kHalf.
template <int kHalf>
HWY_INLINE PairFit FitFactor(const PairTile& tile, int r, int f) {
  return f > kHalf * kPairSteps
             ? FitPairs<-kHalf, kHalf - 1, true>(tile, r, f)
             : FitPairs<-kHalf, kHalf - 1, false>(tile, r, f);
}

// The best scale for the blocks of register r, whose codes are
// -kHalf..kHalf-1; zero for zero blocks. `factors`: F of the candidates.
template <int kHalf, int kCount>
HWY_INLINE VF FindPairScale(const Tile& tile, int r,
                            const int (&factors)[kCount], int count) {
  const DF df;
  const VF lo = hn::Load(df, tile.lo + r * kFloatLanes);
  const VF hi = hn::Load(df, tile.hi + r * kFloatLanes);
  const VF peak = hn::IfThenElse(hn::Gt(hi, hn::Neg(lo)), hi, lo);
  const MF zero = hn::Lt(hn::Abs(peak), hn::Set(df, kTileFloor));
  const VF one = hn::Set(df, 1.0f);
  const VF unit =
      hn::Div(hn::Set(df, kPairPeak), hn::IfThenElse(zero, one, peak));
  PairTile pairs;
  LoadPairs(tile, r, unit, pairs);
  VF uv = hn::Zero(df), vv = one;
  for (int i = 0; i < count; ++i) {
    const PairFit fit = FitFactor<kHalf>(pairs, r, factors[i]);
    const VF new_uv = hn::ConvertTo(df, fit.uv);
    const VF new_vv = hn::ConvertTo(df, fit.vv);
    const VF gain = hn::Mul(hn::Mul(new_uv, new_uv), vv);
    const MF better = hn::Gt(gain, hn::Mul(hn::Mul(uv, uv), new_vv));
    uv = hn::IfThenElse(better, new_uv, uv);
    vv = hn::IfThenElse(better, new_vv, vv);
  }
  const VF scale = hn::Mul(hn::Mul(peak, hn::Set(df, 1 / kPairPeak)),
                           hn::Mul(uv, InverseOrZero(vv)));
  return hn::IfThenZeroElse(zero, scale);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

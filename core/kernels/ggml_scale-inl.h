// One scale per block: the search that Q4_0, Q5_0, IQ4_NL and IQ4_XS share.
//
//   minimize over d and codes   sum_e w_e (x_e - d * v_e)^2,   v_e in the grid
//
// For fixed v the best d is sum(w x v) / sum(w v v), and what it removes from
// the error is G = sum(w x v)^2 / sum(w v v). So the search tries some inverse
// scales, takes the nearest grid values for each, keeps the largest G, then
// alternates once: values for the best d, d for these values (only with
// importances; without them the values for the stored d do as well). Comparing
// G by cross multiplication needs no division.
//
// Source: the search of the reference quantizers (a grid of inverse scales
// around -n / peak) and Lloyd's alternation. Differences: w is the importance
// itself, and 1 without one, because that is the error that is reported; the
// candidates are chosen per type, and include those that map the peak to the
// far end of the grid; d is made final after it was rounded.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_SCALE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_SCALE_INL_H_
#undef QUANT_CORE_KERNELS_GGML_SCALE_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_SCALE_INL_H_
#endif

#include <iterator>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums over the elements of each block.
struct Fit {
  VF xv;  // w x v
  VF vv;  // w v v
};

// Grid: Nearest(x * Factor(inverse)), the value of the grid next to
// x * inverse. kFar: that may be anything; otherwise it is in the range of the
// grid's kPeaks.
template <class Grid, bool kWeighted, bool kFar>
HWY_INLINE Fit FitAt(const Grid& grid, const Tile& tile, int r, VF inverse) {
  const DF df;
  const float* x = tile.x + r * kFloatLanes;
  const float* w = tile.w + r * kFloatLanes;
  const VF factor = grid.Factor(inverse);
  Fit fit{hn::Zero(df), hn::Zero(df)};
  HWY_UNROLL(4)
  for (int e = 0; e < kTileElems; ++e) {
    const VF xe = hn::Load(df, x + e * kTileBlocks);
    const VF v = grid.template Nearest<kFar>(hn::Mul(xe, factor));
    VF wv = v;
    if constexpr (kWeighted) {
      wv = hn::Mul(v, hn::Load(df, w + e * kTileBlocks));
    }
    fit.xv = hn::Add(fit.xv, hn::Mul(wv, xe));
    fit.vv = hn::Add(fit.vv, hn::Mul(wv, v));
  }
  return fit;
}

HWY_INLINE void KeepBetter(const Fit& fit, Fit& best) {
  const VF gain = hn::Mul(hn::Mul(fit.xv, fit.xv), best.vv);
  const VF old = hn::Mul(hn::Mul(best.xv, best.xv), fit.vv);
  const MF better = hn::Gt(gain, old);
  best.xv = hn::IfThenElse(better, fit.xv, best.xv);
  best.vv = hn::IfThenElse(better, fit.vv, best.vv);
}

HWY_INLINE VF ScaleOf(const Fit& fit) {
  return hn::Mul(fit.xv, InverseOrZero(fit.vv));
}

// The best scale found for the blocks of register r. Zero for zero blocks.
template <class Grid, bool kWeighted>
HWY_INLINE VF FindScale(const Grid& grid, const Tile& tile, int r,
                        SearchLevel search) {
  const DF df;
  const VF lo = hn::Load(df, tile.lo + r * kFloatLanes);
  const VF hi = hn::Load(df, tile.hi + r * kFloatLanes);
  const VF peak = hn::IfThenElse(hn::Gt(hi, hn::Neg(lo)), hi, lo);
  const MF zero = hn::Lt(hn::Abs(peak), hn::Set(df, kTileFloor));
  const VF one = hn::Set(df, 1.0f);
  const VF unit = hn::Div(one, hn::IfThenElse(zero, one, peak));
  Fit best = FitAt<Grid, kWeighted, false>(
      grid, tile, r, hn::Mul(unit, hn::Set(df, Grid::kFirst)));
  const bool fast = search == SearchLevel::kFast;
  const int tries = fast        ? Grid::kFastPeaks
                    : kWeighted ? static_cast<int>(std::size(Grid::kPeaks))
                                : Grid::kPlainPeaks;
  for (int i = 0; i < tries; ++i) {
    const VF inverse = hn::Mul(unit, hn::Set(df, Grid::kPeaks[i]));
    KeepBetter(FitAt<Grid, kWeighted, false>(grid, tile, r, inverse), best);
  }
  if constexpr (kWeighted) {
    const VF inverse = InverseOrZero(ScaleOf(best));
    KeepBetter(FitAt<Grid, kWeighted, true>(grid, tile, r, inverse), best);
  }
  return hn::IfThenZeroElse(zero, ScaleOf(best));
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

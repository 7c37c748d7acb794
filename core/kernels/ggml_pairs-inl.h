// The search for the scale of Q4_0 and Q5_0 with equal weights, by the sums of
// ggml_pair_sums-inl.h:
//
//   u_e = rint(2048 x_e / peak),   v_e = clamp((F u_e + 2^14) >> 15)
//   d = (peak / 2048) * sum(u v) / sum(v v)
//
// F maps the peak to F / 16 codes, negative to meet the longer end of the grid.
// The candidate with the largest sum(u v)^2 / sum(v v) wins, as in
// ggml_scale-inl.h. Rounding weights to 1/2048 of the peak moves d by less than
// 1e-4, which costs less than 1e-6 of the error that is left.
//
// Only the integers are transposed, which are half as many bytes as weights.
//
// Legend: as ggml_tile-inl.h; p pair of elements p and p + 16 (0..15).
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_
#undef QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_PAIRS_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "core/kernels/ggml_pair_sums-inl.h"
#include "core/kernels/ggml_peaks-inl.h"
#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kTilePairs = kTileElems / 2;
constexpr float kPairPeak = 2048;  // what the peak becomes
constexpr int kPairSteps = 16;     // of F per code

struct PairTile {
  const float* x;                        // [16, 32], within the ceiling
  alignas(64) float peaks[kTileBlocks];  // of largest magnitude, signed
  alignas(64) float units[kTileBlocks];  // kPairPeak / peak
  PairLanes<kTilePairs> lanes;           // element p low, p + 16 high
  // Of the weights, where they can't be taken from where they are.
  alignas(64) float copy[kTileElems * kTileBlocks];
};

// tile.x -> tile.peaks; whether all are within the ceiling.
HWY_INLINE bool FindPeaks(PairTile& tile) {
  const DF df;
  bool within = true;
  PeaksOfBlocks(tile.x, kTileBlocks, tile.peaks);
  for (int b = 0; b < kTileBlocks; b += kFloatLanes) {
    const VF peak = hn::Abs(hn::Load(df, tile.peaks + b));
    within &= hn::AllTrue(df, hn::Le(peak, hn::Set(df, kTileCeiling)));
  }
  return within;
}

HWY_NOINLINE void ClampToCeiling(PairTile& tile) {
  for (int i = 0; i < kTileElems * kTileBlocks; i += kFloatLanes) {
    const VF value = hn::LoadU(DF(), tile.x + i);
    hn::Store(Clamp(value, -kTileCeiling, kTileCeiling), DF(), tile.copy + i);
  }
  tile.x = tile.copy;
}

// Blocks of zeros get the unit of a peak of one.
HWY_INLINE VF UnitOf(VF peak) {
  const DF df;
  const MF zero = hn::Lt(hn::Abs(peak), hn::Set(df, kTileFloor));
  return hn::Div(hn::Set(df, kPairPeak),
                 hn::IfThenElse(zero, hn::Set(df, 1.0f), peak));
}

// `count` blocks of x [count, 32] -> all of the tile but its lanes. Blocks that
// are missing are zero.
HWY_INLINE void FindUnits(const float* x, int64_t count, PairTile& tile) {
  const DF df;
  tile.x = x;
  if (HWY_UNLIKELY(count < kTileBlocks)) {
    const auto end = std::copy_n(x, count * kTileElems, tile.copy);
    std::fill(end, std::end(tile.copy), 0.0f);
    tile.x = tile.copy;
  }
  if (HWY_UNLIKELY(!FindPeaks(tile))) {
    ClampToCeiling(tile);
    FindPeaks(tile);
  }
  for (int b = 0; b < kTileBlocks; b += kFloatLanes) {
    hn::Store(UnitOf(hn::Load(df, tile.peaks + b)), df, tile.units + b);
  }
}

// tile.x -> tile.lanes
HWY_INLINE void LoadPairs(PairTile& tile) {
  const DF df;
  alignas(64) float rows[kTileBlocks * kTilePairs];
  for (int b = 0; b < kTileBlocks; ++b) {
    const VF unit = hn::Set(df, tile.units[b]);
    for (int p = 0; p < kTilePairs; p += kFloatLanes) {
      const float* at = tile.x + b * kTileElems + p;
      const VF first = hn::Mul(hn::LoadU(df, at), unit);
      const VF second = hn::Mul(hn::LoadU(df, at + kTilePairs), unit);
      hn::Store(hn::BitCast(df, PairOf(first, second)), df,
                rows + b * kTilePairs + p);
    }
  }
  float* to = reinterpret_cast<float*>(tile.lanes.pair);
  for (int b = 0; b < kTileBlocks; b += kFloatLanes) {
    for (int p = 0; p < kTilePairs; p += 4) {
      const Quad quad = LoadTransposed<kTilePairs>(rows + b * kTilePairs + p);
      quad.Store(to + p * kTileBlocks + b);
    }
  }
}

// The peak goes to -f / 16: it alone can be rounded to less than -kHalf.
template <int kHalf>
HWY_INLINE PairSums FitFactor(const PairTile& tile, int r, int f) {
  const PairVec factor = BothHalves(-f);
  return f > kHalf * kPairSteps + kPairSteps / 2
             ? SumsOf<-kHalf, kHalf - 1, true>(tile.lanes, r, factor)
             : SumsOf<-kHalf, kHalf - 1, false>(tile.lanes, r, factor);
}

// The best scale for the blocks of lanes r and on, whose codes are
// -kHalf..kHalf-1; zero for zero blocks. `factors`: F of the candidates.
template <int kHalf, int kCount>
HWY_INLINE VF FindPairScale(const PairTile& tile, int r,
                            const int (&factors)[kCount], int count) {
  const DF df;
  VF uv = hn::Zero(df), vv = hn::Set(df, 1.0f);
  for (int i = 0; i < count; ++i) {
    const PairSums sums = FitFactor<kHalf>(tile, r, factors[i]);
    const VF new_uv = hn::ConvertTo(df, sums.uv);
    const VF new_vv = hn::ConvertTo(df, sums.vv);
    const VF gain = hn::Mul(hn::Mul(new_uv, new_uv), vv);
    const MF better = hn::Gt(gain, hn::Mul(hn::Mul(uv, uv), new_vv));
    uv = hn::IfThenElse(better, new_uv, uv);
    vv = hn::IfThenElse(better, new_vv, vv);
  }
  const VF peak = hn::Load(df, tile.peaks + r);
  const MF zero = hn::Lt(hn::Abs(peak), hn::Set(df, kTileFloor));
  const VF scale = hn::Mul(hn::Mul(peak, hn::Set(df, 1 / kPairPeak)),
                           hn::Mul(uv, InverseOrZero(vv)));
  return hn::IfThenZeroElse(zero, scale);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

// Sixteen blocks of 32 weights at once, one per lane.
//
// Encoders that look for scales do the same arithmetic on every block. A tile
// holds the blocks transposed, so that each has a lane of its own: a lane's
// sums run over its elements in their order, whatever the width of a vector,
// and so the bytes are the same on every target and at any partition.
//
// Legend: e element of a block (0..31), b block of a tile (0..15) = virtual
// lane, r register: lanes r * kFloatLanes and on. Vectors of one tile row hold
// element e of all blocks.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_TILE_INL_H_
#undef QUANT_CORE_KERNELS_GGML_TILE_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_TILE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/kernels/ggml_pack-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// No stored scale reaches beyond 65504 * 127 < 2^23, so weights are clamped
// to this first, and no sum of squares overflows.
constexpr float kTileCeiling = 0x1p30f;
// Half of the smallest f16: a block whose weights are all smaller is a block of
// zeros, because no scale but zero comes as near.
constexpr float kTileFloor = 0x1p-25f;
// Importances are scaled to a largest of 1..2 per block, and are at least
// this: a weight without importance takes part only where nothing else does.
constexpr float kLeastImportance = 0x1p-20f;

struct Tile {
  alignas(64) float x[kTileElems * kTileBlocks];
  alignas(64) float w[kTileElems * kTileBlocks];  // only where weighted
  alignas(64) float lo[kTileBlocks];              // extremes of x
  alignas(64) float hi[kTileBlocks];
};

// Four elements of the blocks of one register. (No array: it would live in
// memory.)
struct Quad {
  VF v0, v1, v2, v3;

  HWY_INLINE void Store(float* rows) const {
    const DF df;
    hn::Store(v0, df, rows);
    hn::Store(v1, df, rows + kTileBlocks);
    hn::Store(v2, df, rows + 2 * kTileBlocks);
    hn::Store(v3, df, rows + 3 * kTileBlocks);
  }
  HWY_INLINE VF Smallest() const {
    return hn::Min(hn::Min(v0, v1), hn::Min(v2, v3));
  }
  HWY_INLINE VF Largest() const {
    return hn::Max(hn::Max(v0, v1), hn::Max(v2, v3));
  }
};

#if HWY_TARGET != HWY_SCALAR
// Four elements of every fourth block of one register; kStride: from block to
// block.
template <int kStride, class D>
HWY_INLINE hn::Vec<D> LoadQuads(D d, const float* x) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, x);
  } else {
    const hn::Half<D> half;
    constexpr int kStep = hn::MaxLanes(half) * kStride;
    return hn::Combine(d, LoadQuads<kStride>(half, x + kStep),
                       LoadQuads<kStride>(half, x));
  }
}

template <int kStride = kTileElems>
HWY_INLINE Quad LoadTransposed(const float* x) {
  const DF df;
  const hn::RepartitionToWide<DU> d64;
  const VF b0 = LoadQuads<kStride>(df, x);
  const VF b1 = LoadQuads<kStride>(df, x + kStride);
  const VF b2 = LoadQuads<kStride>(df, x + 2 * kStride);
  const VF b3 = LoadQuads<kStride>(df, x + 3 * kStride);
  const auto lo01 = hn::BitCast(d64, hn::InterleaveLower(df, b0, b1));
  const auto lo23 = hn::BitCast(d64, hn::InterleaveLower(df, b2, b3));
  const auto hi01 = hn::BitCast(d64, hn::InterleaveUpper(df, b0, b1));
  const auto hi23 = hn::BitCast(d64, hn::InterleaveUpper(df, b2, b3));
  return {hn::BitCast(df, hn::InterleaveLower(d64, lo01, lo23)),
          hn::BitCast(df, hn::InterleaveUpper(d64, lo01, lo23)),
          hn::BitCast(df, hn::InterleaveLower(d64, hi01, hi23)),
          hn::BitCast(df, hn::InterleaveUpper(d64, hi01, hi23))};
}
#else
template <int kStride = kTileElems>
HWY_INLINE Quad LoadTransposed(const float* x) {
  const DF df;
  return {hn::Set(df, x[0]), hn::Set(df, x[1]), hn::Set(df, x[2]),
          hn::Set(df, x[3])};
}
#endif

// x [16, 32], clamped to +-ceiling -> tile.x, tile.lo, tile.hi.
HWY_INLINE void TransposeValues(const float* x, float ceiling, Tile& tile) {
  const DF df;
  const VF top = hn::Set(df, ceiling);
  for (int r = 0; r < kRegisters; ++r) {
    const float* from = x + r * kFloatLanes * kTileElems;
    float* to = tile.x + r * kFloatLanes;
    VF lo = top, hi = hn::Neg(top);
    for (int e = 0; e < kTileElems; e += 4) {
      const Quad quad = LoadTransposed(from + e);
      lo = hn::Min(lo, quad.Smallest());
      hi = hn::Max(hi, quad.Largest());
      quad.Store(to + e * kTileBlocks);
    }
    hn::Store(Clamp(lo, -ceiling, ceiling), df, tile.lo + r * kFloatLanes);
    hn::Store(Clamp(hi, -ceiling, ceiling), df, tile.hi + r * kFloatLanes);
    if (HWY_LIKELY(hn::AllFalse(
            df, hn::Or(hn::Gt(hi, top), hn::Lt(lo, hn::Neg(top)))))) {
      continue;
    }
    for (int e = 0; e < kTileElems; ++e) {
      float* at = to + e * kTileBlocks;
      hn::Store(Clamp(hn::Load(df, at), -ceiling, ceiling), df, at);
    }
  }
}

// importance [16, 32] -> tile.w: times a power of two per block, then at least
// kLeastImportance.
HWY_INLINE void TransposeImportance(const float* importance, Tile& tile) {
  const DF df;
  const DI di;
  for (int r = 0; r < kRegisters; ++r) {
    const float* from = importance + r * kFloatLanes * kTileElems;
    float* to = tile.w + r * kFloatLanes;
    VF hi = hn::Zero(df);
    for (int e = 0; e < kTileElems; e += 4) {
      const Quad quad = LoadTransposed(from + e);
      hi = hn::Max(hi, quad.Largest());
      quad.Store(to + e * kTileBlocks);
    }
    const VI exponent = hn::And(hn::BitCast(di, hi), hn::Set(di, 0x7F800000));
    const VI within = hn::Min(hn::Max(exponent, hn::Set(di, 1 << 23)),
                              hn::Set(di, 253 << 23));
    const VF p = hn::BitCast(df, hn::Sub(hn::Set(di, 254 << 23), within));
    for (int e = 0; e < kTileElems; ++e) {
      float* w = to + e * kTileBlocks;
      hn::Store(
          hn::Max(hn::Mul(hn::Load(df, w), p), hn::Set(df, kLeastImportance)),
          df, w);
    }
  }
}

// `count` blocks [count, 32] -> tile; the others become zero. `importance` is
// read only if kWeighted.
template <bool kWeighted>
HWY_INLINE void LoadTile(const float* x, const float* importance, int64_t count,
                         Tile& tile, float ceiling = kTileCeiling) {
  if (count == kTileBlocks) {
    TransposeValues(x, ceiling, tile);
    if constexpr (kWeighted) TransposeImportance(importance, tile);
    return;
  }
  float padded[kTileElems * kTileBlocks] = {};
  std::memcpy(padded, x, count * kTileElems * sizeof(float));
  TransposeValues(padded, ceiling, tile);
  if constexpr (kWeighted) {
    std::memcpy(padded, importance, count * kTileElems * sizeof(float));
    TransposeImportance(padded, tile);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

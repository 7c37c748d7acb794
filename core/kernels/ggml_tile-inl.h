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

#include "core/kernels/accumulate-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using VI = hn::Vec<DI>;
using MF = hn::Mask<DF>;

constexpr int kTileElems = 32;  // of one block
constexpr int kTileBlocks = kVirtualLanes;

// No stored scale reaches beyond 65504 * 127 < 2^23, so weights are clamped
// to this first, and no sum of squares overflows.
constexpr float kTileCeiling = 0x1p30f;
// Half of the smallest f16: a block whose weights are all smaller is a block of
// zeros, because no scale but zero comes as near.
constexpr float kTileFloor = 0x1p-25f;
// Importances are scaled to a largest of 1..2 per block, and are at least
// this: a weight without importance takes part only where nothing else does.
constexpr float kLeastImportance = 0x1p-20f;
constexpr float kLargestF16 = 65504.0f;

struct Tile {
  alignas(64) float x[kTileElems * kTileBlocks];
  alignas(64) float w[kTileElems * kTileBlocks];  // only where weighted
  alignas(64) float lo[kTileBlocks];              // extremes of x
  alignas(64) float hi[kTileBlocks];
};

// To the nearest integer, ties to even, for |v| < 2^22.
HWY_INLINE VF Rint(VF v) {
  const VF magic = hn::Set(DF(), 0x1.8p23f);
  return hn::Sub(hn::Add(v, magic), magic);
}

HWY_INLINE VF Clamp(VF v, float lo, float hi) {
  return hn::Min(hn::Max(v, hn::Set(DF(), lo)), hn::Set(DF(), hi));
}

// The f16 nearest to v, ties to even; magnitudes beyond the largest saturate,
// and what is not zero does not become zero.
HWY_INLINE VI F16Codes(VF v) {
  const DF df;
  const DI di;
  const VF a = hn::Min(hn::Abs(v), hn::Set(df, kLargestF16));
  const VI bits = hn::BitCast(di, a);
  const VI odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(di, 1));
  const VI rounded = hn::Add(hn::Add(bits, hn::Set(di, 0xFFF)), odd);
  const VI normal =
      hn::Sub(hn::ShiftRight<13>(rounded), hn::Set(di, 112 << 10));
  // Adding 1/2 leaves multiples of 2^-24 in the low bits.
  const VF half = hn::Set(df, 0.5f);
  const VI small =
      hn::Max(hn::Sub(hn::BitCast(di, hn::Add(a, half)), hn::BitCast(di, half)),
              hn::Set(di, 1));
  const auto is_small = hn::Lt(bits, hn::Set(di, (127 - 14) << 23));
  const VI sign =
      hn::And(hn::ShiftRight<16>(hn::BitCast(di, v)), hn::Set(di, 0x8000));
  const VI code = hn::Or(hn::IfThenElse(is_small, small, normal), sign);
  return hn::IfThenZeroElse(hn::Eq(bits, hn::Zero(di)), code);
}

// Values of finite f16 codes.
HWY_INLINE VF F16Values(VI codes) {
  const DF df;
  const DI di;
  const VI magnitude = hn::And(codes, hn::Set(di, 0x7FFF));
  const VF half = hn::Set(df, 0.5f);
  const VF small =
      hn::Sub(hn::BitCast(df, hn::Add(magnitude, hn::BitCast(di, half))), half);
  const VF normal = hn::BitCast(
      df, hn::Add(hn::ShiftLeft<13>(magnitude), hn::Set(di, 112 << 23)));
  const auto is_small = hn::Lt(magnitude, hn::Set(di, 0x400));
  const VI sign = hn::ShiftLeft<16>(hn::And(codes, hn::Set(di, 0x8000)));
  return hn::Or(hn::IfThenElse(hn::RebindMask(df, is_small), small, normal),
                hn::BitCast(df, sign));
}

// 1 / v, and 0 for 0.
HWY_INLINE VF InverseOrZero(VF v) {
  const DF df;
  const auto zero = hn::Eq(v, hn::Zero(df));
  const VF one = hn::Set(df, 1.0f);
  return hn::IfThenZeroElse(zero, hn::Div(one, hn::IfThenElse(zero, one, v)));
}

#if HWY_TARGET != HWY_SCALAR
// Four elements of every fourth block of one register.
template <class D>
HWY_INLINE hn::Vec<D> LoadQuads(D d, const float* x) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, x);
  } else {
    const hn::Half<D> half;
    constexpr int kStep = hn::MaxLanes(half) * kTileElems;
    return hn::Combine(d, LoadQuads(half, x + kStep), LoadQuads(half, x));
  }
}

// Elements e..e+3 of the blocks of one register.
HWY_INLINE void LoadTransposed(const float* x, VF (&out)[4]) {
  const DF df;
  const hn::RepartitionToWide<DU> d64;
  const VF b0 = LoadQuads(df, x), b1 = LoadQuads(df, x + kTileElems);
  const VF b2 = LoadQuads(df, x + 2 * kTileElems);
  const VF b3 = LoadQuads(df, x + 3 * kTileElems);
  const auto lo01 = hn::BitCast(d64, hn::InterleaveLower(df, b0, b1));
  const auto lo23 = hn::BitCast(d64, hn::InterleaveLower(df, b2, b3));
  const auto hi01 = hn::BitCast(d64, hn::InterleaveUpper(df, b0, b1));
  const auto hi23 = hn::BitCast(d64, hn::InterleaveUpper(df, b2, b3));
  out[0] = hn::BitCast(df, hn::InterleaveLower(d64, lo01, lo23));
  out[1] = hn::BitCast(df, hn::InterleaveUpper(d64, lo01, lo23));
  out[2] = hn::BitCast(df, hn::InterleaveLower(d64, hi01, hi23));
  out[3] = hn::BitCast(df, hn::InterleaveUpper(d64, hi01, hi23));
}
#else
HWY_INLINE void LoadTransposed(const float* x, VF (&out)[4]) {
  for (int e = 0; e < 4; ++e) out[e] = hn::Set(DF(), x[e]);
}
#endif

// x [16, 32], clamped to +-ceiling -> tile.x, tile.lo, tile.hi.
HWY_INLINE void TransposeValues(const float* x, float ceiling, Tile& tile) {
  const DF df;
  for (int r = 0; r < kRegisters; ++r) {
    const float* from = x + r * kFloatLanes * kTileElems;
    float* to = tile.x + r * kFloatLanes;
    VF lo = hn::Set(df, ceiling), hi = hn::Set(df, -ceiling);
    for (int e = 0; e < kTileElems; e += 4) {
      VF quad[4];
      LoadTransposed(from + e, quad);
      for (int i = 0; i < 4; ++i) {
        const VF v = Clamp(quad[i], -ceiling, ceiling);
        lo = hn::Min(lo, v);
        hi = hn::Max(hi, v);
        hn::Store(v, df, to + (e + i) * kTileBlocks);
      }
    }
    hn::Store(lo, df, tile.lo + r * kFloatLanes);
    hn::Store(hi, df, tile.hi + r * kFloatLanes);
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
      VF quad[4];
      LoadTransposed(from + e, quad);
      for (int i = 0; i < 4; ++i) {
        hi = hn::Max(hi, quad[i]);
        hn::Store(quad[i], df, to + (e + i) * kTileBlocks);
      }
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

// What one register of blocks becomes.
struct PackedTile {
  alignas(64) int32_t nibbles[4 * kTileBlocks];  // [16][4]: bytes of a block
  alignas(64) int32_t high[kTileBlocks];         // fifth bits
  alignas(64) int32_t d[kTileBlocks];            // f16 codes
  alignas(64) int32_t m[kTileBlocks];
};

// Packs codes 0..15 (0..31 with fifth bits) of register r. codes(e) gives
// element e of all its blocks. Byte j of a block: element j low, j + 16 high.
template <bool kFifth, class Codes>
HWY_INLINE void PackNibbles(const Codes& codes, int r, PackedTile& out) {
  const DI di;
  VI words[4];
  VI high = hn::Zero(di);
  const VI low_bits = hn::Set(di, 15);
  for (int k = 0; k < 4; ++k) {
    VI word = hn::Zero(di);
    // Last byte first: earlier bytes shift it up.
    for (int e = 4 * k + 3; e >= 4 * k; --e) {
      VI even = codes(e), odd = codes(e + 16);
      if constexpr (kFifth) {
        const VI bit = hn::Set(di, 1);
        high = hn::Or(
            high, hn::ShiftLeftSame(hn::And(hn::ShiftRight<4>(even), bit), e));
        high = hn::Or(high, hn::ShiftLeftSame(
                                hn::And(hn::ShiftRight<4>(odd), bit), e + 16));
        even = hn::And(even, low_bits);
        odd = hn::And(odd, low_bits);
      }
      word =
          hn::Or(hn::ShiftLeft<8>(word), hn::Or(even, hn::ShiftLeft<4>(odd)));
    }
    words[k] = word;
  }
  if constexpr (kFifth) hn::Store(high, di, out.high + r * kFloatLanes);
  int32_t* nibbles = out.nibbles + 4 * r * kFloatLanes;
  hn::StoreInterleaved4(words[0], words[1], words[2], words[3], di, nibbles);
}

HWY_INLINE void StoreF16(int32_t code, uint8_t* out) {
  const uint16_t half = static_cast<uint16_t>(code);
  std::memcpy(out, &half, sizeof(half));
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

// Q4_0 and Q5_0: 32 weights, one scale, integers around zero.
//
//   x_hat = d * (q - 2^(b-1)),   q = 0 .. 2^b - 1,   b = 4 or 5
//
// Layout (b = 4: 18 bytes, b = 5: 22): d f16; b = 5: fifth bits, bit e of a
// 32-bit word; 16 bytes, byte j with the low four bits of element j below and
// those of element j + 16 above.
// Source: the ggml block types of these names. The reference takes
// d = peak / -2^(b-1) without a search; see ggml_scale-inl.h and
// ggml_pairs-inl.h for ours.
#include <cstdint>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_symmetric.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_pairs-inl.h"
#include "core/kernels/ggml_scale-inl.h"
#include "core/kernels/ggml_stored_scales-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

// Where the searches map the peak of a block. Found by a greedy choice from a
// fine grid, on blocks of normal, Student and Laplace weights. kPeaks: with
// importances; the last ones clip the peak, which pays only there. kFactors:
// without (ggml_pairs-inl.h); the first is the closed formula.
template <int kHalf>
struct Peaks;
template <>
struct Peaks<8> {
  static constexpr float kPeaks[] = {-8.7f, -7.15f, -8.3f, -7.7f, -9.9f, -9.2f};
  static constexpr int kFactors[] = {128, 139, 114, 133, 123};
};
template <>
struct Peaks<16> {
  static constexpr float kPeaks[] = {-15.05f, -16.65f, -16.3f,  -14.4f, -15.7f,
                                     -14.1f,  -17.95f, -17.25f, -13.1f};
  static constexpr int kFactors[] = {256, 241, 266, 261, 230, 251};
};

template <int kHalf>
struct IntegerGrid : Peaks<kHalf> {
  static constexpr float kFirst = -kHalf;
  static constexpr int kPlainPeaks = 0;  // always weighted
  static constexpr int kFastPeaks = 0;

  HWY_INLINE VF Factor(VF inverse) const { return inverse; }

  template <bool kFar>
  HWY_INLINE VF Nearest(VF t) const {
    return RintClamped<-kHalf, kHalf - 1>(t);
  }
};

template <int kHalf>
constexpr int kSymmetricBytes = kHalf == 16 ? 22 : 18;

// Bit 4 of every code, as an integer.
HWY_INLINE uint32_t FifthBits(VI codes) {
  const DI di;
  const VI fifth = hn::Set(di, 16);
  uint8_t bytes[8] = {};
  hn::StoreMaskBits(di, hn::Eq(hn::And(codes, fifth), fifth), bytes);
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

// x [count, 32], with importances of the same shape -> scales.exact
template <int kHalf>
HWY_INLINE void FindWeightedScales(const float* x, const float* importance,
                                   int64_t count, StoredScales& scales) {
  Tile tile;
  for (int64_t begin = 0; begin < count; begin += kTileBlocks) {
    const int64_t at = begin * kTileElems;
    LoadTile<true>(x + at, importance + at,
                   std::min<int64_t>(kTileBlocks, count - begin), tile);
    for (int r = 0; r < kRegisters; ++r) {
      const VF scale = FindScale<IntegerGrid<kHalf>, true>(
          {}, tile, r, SearchLevel::kDefault);
      hn::Store(scale, DF(), scales.exact + begin + r * kFloatLanes);
    }
  }
}

// x [count, 32] -> scales.exact
template <int kHalf>
HWY_INLINE void FindScales(const float* x, int64_t count, SearchLevel search,
                           StoredScales& scales) {
  const auto& factors = Peaks<kHalf>::kFactors;
  const int tried =
      search == SearchLevel::kFast ? 1 : static_cast<int>(std::size(factors));
  PairTile tiles[kBatchTiles];
  const auto tiles_end = tiles + (count + kTileBlocks - 1) / kTileBlocks;
  for (PairTile* tile = tiles; tile != tiles_end; ++tile) {
    const int64_t begin = (tile - tiles) * kTileBlocks;
    FindUnits(x + begin * kTileElems,
              std::min<int64_t>(kTileBlocks, count - begin), *tile);
  }
  for (PairTile* tile = tiles; tile != tiles_end; ++tile) {
    LoadPairs(*tile);
    float* to = scales.exact + (tile - tiles) * kTileBlocks;
    for (int b = 0; b < kTileBlocks; b += kFloatLanes) {
      hn::Store(FindPairScale<kHalf>(*tile, b, factors, tried), DF(), to + b);
    }
  }
}

// Codes of one register of a block, in the low bytes.
template <int kHalf, class Sums>
HWY_INLINE VI CodesOf(const float* x, float d, float inverse, int r,
                      Sums& sums) {
  const DF df;
  const VF magic = hn::Set(df, 0x1.8p23f + kHalf);
  const VF value = hn::LoadU(df, x);
  const VF t = Clamp(hn::Mul(value, hn::Set(df, inverse)), -kHalf, kHalf - 1);
  const VF rounded = hn::Add(t, magic);  // the code is in the low bits
  const VF back = hn::Mul(hn::Sub(rounded, magic), hn::Set(df, d));
  sums.Add(r, value, hn::Sub(back, value));
  return hn::BitCast(DI(), rounded);
}

// x [32] -> out: fifth bits, where there are, and nibbles.
template <int kHalf, class Sums>
HWY_INLINE void StoreBlock(const float* x, float d, float inverse, Sums& sums,
                           uint8_t* out) {
  constexpr bool kFifth = kHalf == 16;
  const DI di;
  const hn::Rebind<uint8_t, DU> d8;
  uint32_t high = 0;
  uint8_t* nibbles = kFifth ? out + 4 : out;
  for (int r = 0; r < kRegisters; ++r) {
    const int e = r * kFloatLanes;
    VI below = CodesOf<kHalf>(x + e, d, inverse, r, sums);
    VI above = CodesOf<kHalf>(x + e + 16, d, inverse, r, sums);
    if constexpr (kFifth) {
      high |= FifthBits(below) << e | FifthBits(above) << (e + 16);
      below = hn::And(below, hn::Set(di, 15));
    }
    const VI pair = hn::Add(below, hn::ShiftLeft<4>(above));
    hn::StoreU(hn::TruncateTo(d8, hn::BitCast(DU(), pair)), d8, nibbles + e);
  }
  if constexpr (kFifth) std::memcpy(out, &high, sizeof(high));
}

// x [count, 32].
template <int kHalf>
HWY_INLINE void StoreBlocks(const float* x, const StoredScales& scales,
                            int64_t count, uint8_t* out, Accumulators& acc) {
  const auto encode = [&](int64_t i, int64_t n,
                          auto& sums) QUANT_INLINE_LAMBDA {
    for (int64_t b = i / kTileElems; b < (i + n) / kTileElems; ++b) {
      uint8_t* block = out + b * kSymmetricBytes<kHalf>;
      StoreF16(scales.codes[b], block);
      StoreBlock<kHalf>(x + b * kTileElems, scales.values[b],
                        scales.inverses[b], sums, block + 2);
    }
  };
  AddInRuns(count * kTileElems, acc, encode);
}

template <int kHalf, bool kWeighted>
void EncodeSymmetric(const float* x, int64_t blocks, const float* importance,
                     SearchLevel search, uint8_t* out, LaneSums& lanes) {
  StoredScales scales;
  Accumulators acc(lanes);
  for (int64_t begin = 0; begin < blocks; begin += kBatchBlocks) {
    const int64_t count = std::min<int64_t>(kBatchBlocks, blocks - begin);
    const float* from = x + begin * kTileElems;
    if constexpr (kWeighted) {
      FindWeightedScales<kHalf>(from, importance + begin * kTileElems, count,
                                scales);
    } else {
      FindScales<kHalf>(from, count, search, scales);
    }
    scales.Round(count);
    StoreBlocks<kHalf>(from, scales, count,
                       out + begin * kSymmetricBytes<kHalf>, acc);
  }
  acc.Store(lanes);
}

template <int kHalf>
void EncodeSymmetricImpl(const float* x, int64_t n, const float* importance,
                         SearchLevel search, uint8_t* out, LaneSums& sums) {
  const int64_t blocks = n / kTileElems;
  if (importance != nullptr && search == SearchLevel::kDefault) {
    EncodeSymmetric<kHalf, true>(x, blocks, importance, search, out, sums);
  } else {
    EncodeSymmetric<kHalf, false>(x, blocks, x, search, out, sums);
  }
}

void EncodeQ40(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks, LaneSums& sums) {
  EncodeSymmetricImpl<8>(x, n, importance, search, blocks, sums);
}

void EncodeQ50(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks, LaneSums& sums) {
  EncodeSymmetricImpl<16>(x, n, importance, search, blocks, sums);
}

template <int kHalf>
struct IntegerValue {
  VF d;

  HWY_INLINE VF operator()(VI code) const {
    const VI q = hn::Sub(code, hn::Set(DI(), kHalf));
    return hn::Mul(hn::ConvertTo(DF(), q), d);
  }
};

template <int kHalf>
HWY_INLINE void DecodeSymmetric(const uint8_t* blocks, int64_t n, float* out) {
  constexpr bool kFifth = kHalf == 16;
  for (int64_t i = 0; i < n; i += kTileElems) {
    const IntegerValue<kHalf> value{hn::Set(DF(), LoadF16(blocks))};
    blocks += 2;
    uint32_t high = 0;
    if constexpr (kFifth) {
      std::memcpy(&high, blocks, 4);
      blocks += 4;
    }
    UnpackNibbles<kFifth>(blocks, high, value, out + i);
    blocks += 16;
  }
}

void DecodeQ40(const uint8_t* blocks, int64_t n, float* out) {
  DecodeSymmetric<8>(blocks, n, out);
}

void DecodeQ50(const uint8_t* blocks, int64_t n, float* out) {
  DecodeSymmetric<16>(blocks, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
HWY_EXPORT(EncodeQ40);
HWY_EXPORT(EncodeQ50);
HWY_EXPORT(DecodeQ40);
HWY_EXPORT(DecodeQ50);

void EncodeQ4_0(const float* x, int64_t n, const float* importance,
                SearchLevel search, uint8_t* blocks, LaneSums& sums) {
  HWY_DYNAMIC_DISPATCH(EncodeQ40)(x, n, importance, search, blocks, sums);
}
void EncodeQ5_0(const float* x, int64_t n, const float* importance,
                SearchLevel search, uint8_t* blocks, LaneSums& sums) {
  HWY_DYNAMIC_DISPATCH(EncodeQ50)(x, n, importance, search, blocks, sums);
}
void DecodeQ4_0(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeQ40)(blocks, n, out);
}
void DecodeQ5_0(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeQ50)(blocks, n, out);
}
}  // namespace quant
#endif  // HWY_ONCE

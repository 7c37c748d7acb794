// IQ4_NL and IQ4_XS: 4-bit codes into a fixed table of 16 values that are
// denser around zero.
//
//   IQ4_NL  x_hat = d * T[q]                 32 weights
//   IQ4_XS  x_hat = d * (s_i - 32) * T[q]    256 weights, a 6-bit s per 32
//
// Layout: IQ4_NL, 18 bytes: d f16; 16 bytes, byte j with the code of element j
// below and that of element j + 16 above. IQ4_XS, 136 bytes: d f16; the high
// two bits of the scales, those of s_i at bit 2i of 16; the low four bits of
// the scales, two to a byte; eight times 16 bytes as before.
// Source: the ggml block types of these names.
//
// Search: ggml_scale-inl.h. For IQ4_XS each 32 weights look for a scale of
// their own; d is such that the largest of them becomes -32 or some integer
// near to it; then the neighbours of each rounded s are tried as well, and the
// d of least error is kept. The reference rounds once.
#include <cmath>
#include <cstdint>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_iq4.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_scale-inl.h"
#include "core/kernels/ggml_unpack-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

alignas(64) constexpr float kTable[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// What follows each value; the last has no successor.
alignas(64) constexpr float kNext[16] = {-104, -83, -65, -49, -35, -22, -10, 1,
                                         13,   25,  38,  53,  69,  89,  113, 0};
alignas(16) constexpr int8_t kTableBytes[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
alignas(16) constexpr int8_t kNextBytes[16] = {
    -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113, 0};

// Entry i (0..15) of a table that is given as floats and as bytes.
HWY_INLINE VF Lookup(const float* values, const int8_t* bytes, VI i) {
#if HWY_TARGET == HWY_SCALAR
  (void)bytes;
  return hn::Set(DF(), values[hn::GetLane(i)]);
#else
  if constexpr (kFloatLanes == 16) {
    (void)bytes;
    return hn::TableLookupLanes(hn::Load(DF(), values),
                                hn::IndicesFromVec(DF(), i));
  } else {
    const hn::Repartition<int8_t, DI> d8;
    const auto table = hn::LoadDup128(d8, bytes);
    // Indices with the top bit set give zero.
    const VI one_byte = hn::Or(i, hn::Set(DI(), ~0xFF));
    const VI found = hn::BitCast(
        DI(), hn::TableLookupBytesOr0(table, hn::BitCast(d8, one_byte)));
    return hn::ConvertTo(DF(), hn::ShiftRight<24>(hn::ShiftLeft<24>(found)));
  }
#endif
}

// The grid of table values. Thresholds between neighbours are nearly a cubic of
// their index, so a quadratic in |t| finds an index c such that the nearest
// value is T[c] or T[c + 1] (the test checks this for every threshold).
struct TableGrid {
  static constexpr float kFirst = -127;
  // Found as those of Q4_0 were.
  static constexpr float kPeaks[] = {-138, 115, -110, -154, 126, -122,
                                     -132, 109, 142,  -104, 120, -145};
  static constexpr int kFastPeaks = 2;

  struct Pair {
    VI c;
    VF value, next;
    MF up;  // whether next is nearer
  };

  HWY_INLINE Pair Around(VF t) const {
    const DF df;
    const VF clamped = Clamp(t, -127, 112);
    const VF u = hn::Add(clamped, hn::Set(df, 4.5f));
    const VF slope = hn::Sub(hn::Set(df, 0.0885f),
                             hn::Mul(hn::Abs(u), hn::Set(df, 0.00021f)));
    // Truncated: what is below 0 becomes 0.
    const VI c =
        hn::ConvertTo(DI(), hn::Add(hn::Mul(u, slope), hn::Set(df, 7.5f)));
    const VF value = Lookup(kTable, kTableBytes, c);
    const VF next = Lookup(kNext, kNextBytes, c);
    return {c, value, next,
            hn::Gt(hn::Add(clamped, clamped), hn::Add(value, next))};
  }

  HWY_INLINE VF Nearest(VF t) const {
    const Pair p = Around(t);
    return hn::IfThenElse(p.up, p.next, p.value);
  }

  HWY_INLINE VI Code(VF t) const {
    const Pair p = Around(t);
    const VI one = hn::Set(DI(), 1);
    return hn::Add(p.c, hn::IfThenElseZero(hn::RebindMask(DI(), p.up), one));
  }
};

struct TableCodes {
  TableGrid grid;
  const float* x;
  VF inverse;

  HWY_INLINE VI operator()(int e) const {
    return grid.Code(hn::Mul(hn::Load(DF(), x + e * kTileBlocks), inverse));
  }
};

template <bool kWeighted>
void EncodeIq4Nl(const float* x, int64_t blocks, const float* importance,
                 SearchLevel search, uint8_t* out) {
  const TableGrid grid;
  Tile tile;
  PackedTile packed;
  for (int64_t begin = 0; begin < blocks; begin += kTileBlocks) {
    const int64_t count = std::min<int64_t>(kTileBlocks, blocks - begin);
    LoadTile<kWeighted>(x + begin * kTileElems, importance + begin * kTileElems,
                        count, tile);
    for (int r = 0; r < kRegisters; ++r) {
      const VI code =
          F16Codes(FindScale<TableGrid, kWeighted>(grid, tile, r, search));
      hn::Store(code, DI(), packed.d + r * kFloatLanes);
      const TableCodes codes{grid, tile.x + r * kFloatLanes,
                             InverseOrZero(F16Values(code))};
      PackNibbles<false>(codes, r, packed);
    }
    for (int64_t b = 0; b < count; ++b) {
      StoreF16(packed.d[b], out);
      std::memcpy(out + 2, packed.nibbles + 4 * b, 16);
      out += 18;
    }
  }
}

void EncodeNl(const float* x, int64_t n, const float* importance,
              SearchLevel search, uint8_t* blocks) {
  if (importance != nullptr && search == SearchLevel::kDefault) {
    EncodeIq4Nl<true>(x, n / kTileElems, importance, search, blocks);
  } else {
    EncodeIq4Nl<false>(x, n / kTileElems, x, search, blocks);
  }
}

// IQ4_XS: 8 lanes are one block.
constexpr int kGroups = 8;
constexpr int kSuperElems = 256;
constexpr int kSuperBytes = 136;

struct SuperTile {
  Tile tile;
  PackedTile packed;                        // d: one per block of 256
  alignas(64) float scale[kTileBlocks];     // wanted, then d * (s - 32)
  alignas(64) float error[kTileBlocks];     // less a constant
  alignas(64) int32_t levels[kTileBlocks];  // s - 32
  int32_t d[kTileBlocks / kGroups];         // f16 codes
};

// What the error becomes for the scale `a`, less the sum of w x x.
template <bool kWeighted>
HWY_INLINE VF ErrorAt(const TableGrid& grid, const Tile& tile, int r, VF a) {
  const Fit fit = FitAt<TableGrid, kWeighted>(grid, tile, r, InverseOrZero(a));
  const VF twice = hn::Add(fit.xv, fit.xv);
  return hn::Mul(a, hn::Sub(hn::Mul(a, fit.vv), twice));
}

// Rounds the wanted scales to multiples of d, one d per block, and improves the
// levels by trying their neighbours. Leaves errors in s.error.
template <bool kWeighted>
HWY_INLINE void ChooseLevels(const float (&d)[kTileBlocks], int reach,
                             SuperTile& s) {
  const DF df;
  const DI di;
  const TableGrid grid;
  for (int r = 0; r < kRegisters; ++r) {
    const int at = r * kFloatLanes;
    const VF step = hn::Load(df, d + at);
    const VF inverse = InverseOrZero(step);
    const VF level =
        Rint(Clamp(hn::Mul(hn::Load(df, s.scale + at), inverse), -32, 31));
    VF best = level;
    VF least = ErrorAt<kWeighted>(grid, s.tile, r, hn::Mul(best, step));
    for (int move = -reach; move <= reach; ++move) {
      if (move == 0) continue;
      const VF near =
          Clamp(hn::Add(level, hn::Set(df, static_cast<float>(move))), -32, 31);
      const VF error = ErrorAt<kWeighted>(grid, s.tile, r, hn::Mul(near, step));
      const MF better = hn::Lt(error, least);
      least = hn::IfThenElse(better, error, least);
      best = hn::IfThenElse(better, near, best);
    }
    hn::Store(least, df, s.error + at);
    hn::Store(hn::ConvertTo(di, best), di, s.levels + at);
  }
}

constexpr float kTops[] = {-32, 31, -30.5f};
constexpr int kReach = 1;

// The scale of largest magnitude among those of a block.
HWY_INLINE float LargestScale(const float* scales) {
  float largest = 0;
  for (int g = 0; g < kGroups; ++g) {
    if (std::abs(scales[g]) > std::abs(largest)) largest = scales[g];
  }
  return largest;
}

template <bool kWeighted>
HWY_INLINE void ChooseSuperScales(SearchLevel search, SuperTile& s) {
  constexpr int kSupers = kTileBlocks / kGroups;
  const DI di;
  float largest[kSupers], least[kSupers];
  int32_t levels[kTileBlocks] = {};
  for (int b = 0; b < kSupers; ++b) {
    largest[b] = LargestScale(s.scale + b * kGroups);
  }
  bool first = true;
  for (const float top : kTops) {
    alignas(64) float wanted[kTileBlocks];
    alignas(64) float d[kTileBlocks];
    alignas(64) int32_t codes[kTileBlocks];
    for (int i = 0; i < kTileBlocks; ++i) {
      wanted[i] = largest[i / kGroups] / top;
    }
    for (int i = 0; i < kTileBlocks; i += kFloatLanes) {
      const VI code = F16Codes(hn::Load(DF(), wanted + i));
      hn::Store(code, di, codes + i);
      hn::Store(F16Values(code), DF(), d + i);
    }
    ChooseLevels<kWeighted>(d, search == SearchLevel::kDefault ? kReach : 0, s);
    for (int b = 0; b < kSupers; ++b) {
      float error = 0;
      for (int g = 0; g < kGroups; ++g) error += s.error[b * kGroups + g];
      if (!first && error >= least[b]) continue;
      least[b] = error;
      s.d[b] = codes[b * kGroups];
      std::memcpy(levels + b * kGroups, s.levels + b * kGroups,
                  kGroups * sizeof(int32_t));
    }
    first = false;
    if (search == SearchLevel::kFast) break;
  }
  std::memcpy(s.levels, levels, sizeof(levels));
}

// Codes for the stored scales, which replace the wanted ones.
HWY_INLINE void EncodeSuperTile(SuperTile& s) {
  const DF df;
  const DI di;
  alignas(64) int32_t d[kTileBlocks];
  for (int i = 0; i < kTileBlocks; ++i) d[i] = s.d[i / kGroups];
  for (int r = 0; r < kRegisters; ++r) {
    const int at = r * kFloatLanes;
    const VF scale = hn::Mul(F16Values(hn::Load(di, d + at)),
                             hn::ConvertTo(df, hn::Load(di, s.levels + at)));
    const TableCodes codes{TableGrid(), s.tile.x + at, InverseOrZero(scale)};
    PackNibbles<false>(codes, r, s.packed);
  }
}

HWY_INLINE void StoreSuper(const SuperTile& s, int b, uint8_t* out) {
  StoreF16(s.d[b], out);
  uint32_t high = 0, low = 0;
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t level =
        static_cast<uint32_t>(s.levels[b * kGroups + g] + 32);
    high |= (level >> 4) << (2 * g);
    low |= (level & 15) << (4 * g);
  }
  const uint16_t half = static_cast<uint16_t>(high);
  std::memcpy(out + 2, &half, 2);
  std::memcpy(out + 4, &low, 4);
  std::memcpy(out + 8, s.packed.nibbles + 4 * kGroups * b, 16 * kGroups);
}

template <bool kWeighted>
void EncodeIq4Xs(const float* x, int64_t blocks, const float* importance,
                 SearchLevel search, uint8_t* out) {
  constexpr int kSupers = kTileBlocks / kGroups;
  SuperTile s;
  for (int64_t begin = 0; begin < blocks; begin += kSupers) {
    const int64_t count = std::min<int64_t>(kSupers, blocks - begin);
    LoadTile<kWeighted>(x + begin * kSuperElems,
                        importance + begin * kSuperElems, count * kGroups,
                        s.tile);
    for (int r = 0; r < kRegisters; ++r) {
      hn::Store(FindScale<TableGrid, kWeighted>(TableGrid(), s.tile, r, search),
                DF(), s.scale + r * kFloatLanes);
    }
    ChooseSuperScales<kWeighted>(search, s);
    EncodeSuperTile(s);
    for (int64_t b = 0; b < count; ++b, out += kSuperBytes) {
      StoreSuper(s, static_cast<int>(b), out);
    }
  }
}

void EncodeXs(const float* x, int64_t n, const float* importance,
              SearchLevel search, uint8_t* blocks) {
  if (importance != nullptr && search == SearchLevel::kDefault) {
    EncodeIq4Xs<true>(x, n / kSuperElems, importance, search, blocks);
  } else {
    EncodeIq4Xs<false>(x, n / kSuperElems, x, search, blocks);
  }
}

struct TableValue {
  VF scale;

  HWY_INLINE VF operator()(VI code) const {
    return hn::Mul(Lookup(kTable, kTableBytes, code), scale);
  }
};

void DecodeNl(const uint8_t* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kTileElems, blocks += 18) {
    const TableValue value{hn::Set(DF(), LoadF16(blocks))};
    UnpackNibbles<false>(blocks + 2, 0, value, out + i);
  }
}

void DecodeXs(const uint8_t* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kSuperElems, blocks += kSuperBytes) {
    const float d = LoadF16(blocks);
    uint32_t high = 0, low;
    std::memcpy(&high, blocks + 2, 2);
    std::memcpy(&low, blocks + 4, 4);
    for (int g = 0; g < kGroups; ++g) {
      const uint32_t s = (low >> (4 * g) & 15) | (high >> (2 * g) & 3) << 4;
      const float scale = d * static_cast<float>(static_cast<int>(s) - 32);
      const TableValue value{hn::Set(DF(), scale)};
      UnpackNibbles<false>(blocks + 8 + 16 * g, 0, value,
                           out + i + kTileElems * g);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
HWY_EXPORT(EncodeNl);
HWY_EXPORT(EncodeXs);
HWY_EXPORT(DecodeNl);
HWY_EXPORT(DecodeXs);

void EncodeIQ4_NL(const float* x, int64_t n, const float* importance,
                  SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeNl)(x, n, importance, search, blocks);
}
void EncodeIQ4_XS(const float* x, int64_t n, const float* importance,
                  SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeXs)(x, n, importance, search, blocks);
}
void DecodeIQ4_NL(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeNl)(blocks, n, out);
}
void DecodeIQ4_XS(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeXs)(blocks, n, out);
}
}  // namespace quant
#endif  // HWY_ONCE

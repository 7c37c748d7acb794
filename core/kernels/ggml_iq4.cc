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
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

alignas(64) constexpr float kTableFloats[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
alignas(16) constexpr int8_t kTable[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Finding the nearest value. Its index is nearly linear in
//
//   w(t) = u (a - b |u|),  u = t + kShift,  a = 0.092,  b = a a / 32
//        = 32 y (1 - |y|), y = u b / a
//
// so much so that the threshold between T[i] and T[i + 1] has w within 1/2 of
// i - 7 (checked below). So w, rounded to k, leaves T[k + 7] and T[k + 8], and
// one comparison. k is -8 or 8 for what lies beyond the table: both are the
// slot 0, where the comparison finds the side. |w| has its maximum at |u| =
// 174, and is at least 7.5, which is enough, up to |u| = 217.
constexpr float kShift = 4.5f;
constexpr float kUnit = 0.002875f;   // b / a
constexpr float kFarthest = 200.0f;  // |t| for which this holds

// What slot (k + 8) % 16 leaves, and the threshold between, as y.
struct SlotTable {
  alignas(64) float low[16];
  alignas(64) float high[16];
  alignas(64) float threshold[16];
  alignas(16) int8_t low_bytes[16];
  alignas(16) int8_t high_bytes[16];
};

constexpr float ThresholdOf(float low, float high) {
  return ((low + high) * 0.5f + kShift) * kUnit;
}

constexpr SlotTable MakeSlotTable() {
  SlotTable t{};
  for (int s = 0; s < 16; ++s) {
    t.low_bytes[s] = kTable[s == 0 ? 0 : s - 1];
    t.high_bytes[s] = kTable[s == 0 ? 15 : s];
    t.low[s] = t.low_bytes[s];
    t.high[s] = t.high_bytes[s];
    t.threshold[s] = ThresholdOf(t.low[s], t.high[s]);
  }
  return t;
}
constexpr SlotTable kSlots = MakeSlotTable();

constexpr bool ThresholdsAreWithinTheirSlots() {
  for (int i = 0; i < 15; ++i) {
    const float y = kSlots.threshold[i + 1];
    const float w = 32 * y * (1 - (y < 0 ? -y : y));
    const float away = w - static_cast<float>(i - 7);
    if (away < -0.49f || away > 0.49f) return false;
  }
  return true;
}
static_assert(ThresholdsAreWithinTheirSlots());

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

struct TableGrid {
  static constexpr float kFirst = -127;
  // Found as those of Q4_0 were.
  static constexpr float kPeaks[] = {-138, 115, -110, -154, 126, -122,
                                     -132, 109, 142,  -104, 120, -145};
  static constexpr int kPlainPeaks = 12;
  static constexpr int kFastPeaks = 2;

  // y, less the shift.
  HWY_INLINE VF Factor(VF inverse) const {
    return hn::Mul(inverse, hn::Set(DF(), kUnit));
  }

  HWY_INLINE VI SlotOf(VF y) const {
    const DF df;
    const VF fold = hn::Sub(hn::Set(df, 1.0f), hn::Abs(y));
    // Its last place is 1/32; the four bits there become k + 8.
    const VF magic = hn::Set(df, 0x1.8p18f + 0.25f);
    const VI bits = hn::BitCast(DI(), hn::Add(hn::Mul(y, fold), magic));
    return hn::And(bits, hn::Set(DI(), 15));
  }

  template <bool kFar>
  HWY_INLINE VF Nearest(VF scaled) const {
    const DF df;
    if constexpr (kFar) {
      scaled = Clamp(scaled, -kFarthest * kUnit, kFarthest * kUnit);
    }
    const VF y = hn::Add(scaled, hn::Set(df, kShift * kUnit));
    const VI slot = SlotOf(y);
    const VF low = Lookup(kSlots.low, kSlots.low_bytes, slot);
    const VF high = Lookup(kSlots.high, kSlots.high_bytes, slot);
    const VF threshold = ThresholdAt(slot, low, high);
    return hn::IfThenElse(hn::Gt(y, threshold), high, low);
  }

  // For t itself, so that ties are exact.
  HWY_INLINE VI Code(VF t) const {
    const DF df;
    const DI di;
    const VF within = Clamp(t, -127, 113);
    const VF y =
        hn::Mul(hn::Add(within, hn::Set(df, kShift)), hn::Set(df, kUnit));
    const VI slot = SlotOf(y);  // not 0
    const VF sum = hn::Add(Lookup(kSlots.low, kSlots.low_bytes, slot),
                           Lookup(kSlots.high, kSlots.high_bytes, slot));
    const auto up = hn::RebindMask(di, hn::Gt(hn::Add(within, within), sum));
    return hn::Sub(slot, hn::IfThenZeroElse(up, hn::Set(di, 1)));
  }

 private:
  // The same number on every target.
  static HWY_INLINE VF ThresholdAt([[maybe_unused]] VI slot, VF low, VF high) {
    const DF df;
    if constexpr (kFloatLanes == 16) {
      return Lookup(kSlots.threshold, nullptr, slot);
    } else {
      const VF middle = hn::Mul(hn::Add(low, high), hn::Set(df, 0.5f));
      return hn::Mul(hn::Add(middle, hn::Set(df, kShift)), hn::Set(df, kUnit));
    }
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
  const Fit fit =
      FitAt<TableGrid, kWeighted, true>(grid, tile, r, InverseOrZero(a));
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
    return hn::Mul(Lookup(kTableFloats, kTable, code), scale);
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

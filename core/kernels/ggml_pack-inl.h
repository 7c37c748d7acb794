// Numbers and bytes of block types: rounding to integers and f16, and codes in
// nibbles, packed for sixteen blocks of 32 weights at once, unpacked for one.
//
// Legend: e element of a block (0..31); lanes hold different blocks when
// packing, different elements when unpacking; r register of lanes.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_PACK_INL_H_
#undef QUANT_CORE_KERNELS_GGML_PACK_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_PACK_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "core/kernels/accumulate-inl.h"
#include "core/tensor/float_formats.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using VI = hn::Vec<DI>;
using MF = hn::Mask<DF>;

constexpr int kTileElems = 32;  // of one block
constexpr int kTileBlocks = kVirtualLanes;
constexpr float kLargestF16 = 65504.0f;

// To the nearest integer, ties to even, for |v| < 2^22.
HWY_INLINE VF Rint(VF v) {
  const VF magic = hn::Set(DF(), 0x1.8p23f);
  return hn::Sub(hn::Add(v, magic), magic);
}

HWY_INLINE VF Clamp(VF v, float lo, float hi) {
  return hn::Min(hn::Max(v, hn::Set(DF(), lo)), hn::Set(DF(), hi));
}

// A float with bits kRintBits + i is the number 1.5 * 2^23 + i. Adding such a
// number rounds to nearest even; beyond that range order is kept, so limits may
// be applied to the bits, which costs less than to apply them to the float.
constexpr int32_t kRintBits = 0x4B400000;

template <int kLo, int kHi>
HWY_INLINE VI RintBits(VF v) {
  const DI di;
  const VI bits = hn::BitCast(di, hn::Add(v, hn::Set(DF(), 0x1.8p23f)));
  return hn::Min(hn::Max(bits, hn::Set(di, kRintBits + kLo)),
                 hn::Set(di, kRintBits + kHi));
}

// v to the nearest of the integers kLo..kHi, ties to even.
template <int kLo, int kHi>
HWY_INLINE VF RintClamped(VF v) {
  return hn::Sub(hn::BitCast(DF(), RintBits<kLo, kHi>(v)),
                 hn::Set(DF(), 0x1.8p23f));
}

// The same, less kLo. The low 22 bits are the code, those above may be
// anything.
template <int kLo, int kHi>
HWY_INLINE VI CodeClamped(VF v) {
  const VI bits = RintBits<kLo, kHi>(v);
  return kLo == 0 ? bits : hn::Sub(bits, hn::Set(DI(), kLo));
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

// What one register of blocks becomes.
struct PackedTile {
  alignas(64) int32_t nibbles[4 * kTileBlocks];  // [16][4]: bytes of a block
  alignas(64) int32_t high[kTileBlocks];         // fifth bits
  alignas(64) int32_t d[kTileBlocks];            // f16 codes
  alignas(64) int32_t m[kTileBlocks];
};

// Sixteen bits of fifth bits: bit i is that of codes[i].
HWY_INLINE VI FifthBits(const VI (&codes)[16]) {
  const DI di;
  const VI fifth = hn::Set(di, 16);
  // Last bit first: earlier ones shift it up.
  VI bits = hn::And(codes[15], fifth);
  for (int i = 14; i >= 0; --i) {
    bits = hn::Or(hn::Add(bits, bits), hn::And(codes[i], fifth));
  }
  return hn::ShiftRight<4>(bits);
}

// A byte of which the low one holds both codes; the bits above it up to the
// 22nd are clear if kFifth or if those of the codes are.
template <bool kFifth>
HWY_INLINE VI Pair(VI low, VI high) {
  if constexpr (kFifth) low = hn::And(low, hn::Set(DI(), 15));
  const VI both = hn::Add(low, hn::ShiftLeft<4>(high));
  return kFifth ? hn::And(both, hn::Set(DI(), 255)) : both;
}

// Packs codes 0..15 (0..31 with fifth bits) of register r. codes(e) gives
// element e of all its blocks in the low 16 bits. Byte j of a block: element j
// low, j + 16 high.
template <bool kFifth, class Codes>
HWY_INLINE void PackNibbles(const Codes& codes, int r, PackedTile& out) {
  const DI di;
  VI words[4];
  VI below[16], above[16];
  const VI half = hn::Set(di, 0xFFFF);
  HWY_UNROLL(4)
  for (int k = 0; k < 4; ++k) {
    VI bytes[4];
    HWY_UNROLL(4)
    for (int i = 0; i < 4; ++i) {
      const int e = 4 * k + i;
      below[e] = codes(e);
      above[e] = codes(e + 16);
      bytes[i] = Pair<kFifth>(below[e], above[e]);
    }
    const VI first = hn::Add(bytes[0], hn::ShiftLeft<8>(bytes[1]));
    const VI second = hn::Add(bytes[2], hn::ShiftLeft<8>(bytes[3]));
    words[k] = hn::Or(hn::And(first, half), hn::ShiftLeft<16>(second));
  }
  if constexpr (kFifth) {
    hn::Store(hn::Or(FifthBits(below), hn::ShiftLeft<16>(FifthBits(above))), di,
              out.high + r * kFloatLanes);
  }
  int32_t* nibbles = out.nibbles + 4 * r * kFloatLanes;
  hn::StoreInterleaved4(words[0], words[1], words[2], words[3], di, nibbles);
}

HWY_INLINE void StoreF16(int32_t code, uint8_t* out) {
  const uint16_t half = static_cast<uint16_t>(code);
  std::memcpy(out, &half, sizeof(half));
}

HWY_INLINE float LoadF16(const uint8_t* bytes) {
  uint16_t code;
  std::memcpy(&code, bytes, sizeof(code));
  return F16ToF32(code);
}

// bytes [16] -> out [32] = value(codes), where value takes and gives one
// register. Bit e of `high` is the fifth bit of element e.
template <bool kFifth, class Value>
HWY_INLINE void UnpackNibbles(const uint8_t* bytes, uint32_t high,
                              const Value& value, float* out) {
  const DI di;
  const DU du;
  const hn::Rebind<uint8_t, DI> d8;
  for (int j = 0; j < 16; j += kFloatLanes) {
    const auto pair = hn::PromoteTo(di, hn::LoadU(d8, bytes + j));
    auto below = hn::And(pair, hn::Set(di, 15));
    auto above = hn::ShiftRight<4>(pair);
    if constexpr (kFifth) {
      const auto bits =
          hn::Shr(hn::Set(du, high), hn::Iota(du, static_cast<uint32_t>(j)));
      const auto bit = hn::Set(du, 16);
      below =
          hn::Or(below, hn::BitCast(di, hn::And(hn::ShiftLeft<4>(bits), bit)));
      above = hn::Or(above,
                     hn::BitCast(di, hn::And(hn::ShiftRight<12>(bits), bit)));
    }
    hn::StoreU(value(below), DF(), out + j);
    hn::StoreU(value(above), DF(), out + j + 16);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

// MXFP4: 32 weights, a power of two, 4-bit floats (E2M1).
//
//   x_hat = 2^(E - 127) * F[q],   F = 0 0.5 1 1.5 2 3 4 6, and their negatives
//
// Layout, 17 bytes: E; 16 bytes, byte j with the code of element j below and
// that of element j + 16 above; bit 3 of a code is the sign.
// Source: OCP Microscaling Formats 1.0 and the ggml block type of this name.
// The reference takes E = floor(log2(peak)) - 2 + 127, which clips peaks above
// 6 * 2^(E - 127). Here the exponents next to it are tried as well, and the one
// of least weighted error is kept; equal errors keep the reference's.
#include <cstdint>
#include <limits>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_mxfp4.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

constexpr int kMxfp4Bytes = 17;
// 6 * 2^(253 - 127) is no float any more.
constexpr int kLargestExponent = 252;

// A magnitude (at most 6) that rounds to steps of 1/2 below 2, 1 below 4, and 2
// beyond: adding a number whose last place is one step does it.
struct Rounder {
  VF magic;
  VF sum;  // magnitude + magic

  HWY_INLINE explicit Rounder(VF a) {
    const DF df;
    const DI di;
    const VI bits = hn::BitCast(di, hn::Max(a, hn::Set(df, 1.0f)));
    const VI exponent = hn::And(bits, hn::Set(di, 0x7F800000));
    magic =
        hn::BitCast(df, hn::Add(exponent, hn::Set(di, (22 << 23) | 0x400000)));
    sum = hn::Add(a, magic);
  }

  HWY_INLINE VF Value() const { return hn::Sub(sum, magic); }

  // 0..7. Steps count 0..4 below 2, where the code is the count; each doubling
  // of the step adds two.
  HWY_INLINE VI Code() const {
    const DI di;
    const VI count = hn::And(hn::BitCast(di, sum), hn::Set(di, 7));
    const VI exponent = hn::ShiftRight<23>(hn::BitCast(di, magic));
    return hn::Add(count,
                   hn::ShiftLeft<1>(hn::Sub(exponent, hn::Set(di, 127 + 22))));
  }
};

// 2^(127 - E) for E = 0..253.
HWY_INLINE VF InverseOf(VI exponent) {
  const DI di;
  return hn::BitCast(DF(),
                     hn::ShiftLeft<23>(hn::Sub(hn::Set(di, 254), exponent)));
}

// Weighted squared error, in units of 4^(E - 127).
template <bool kWeighted>
HWY_INLINE VF ErrorOf(const Tile& tile, int r, VI exponent) {
  const DF df;
  const float* x = tile.x + r * kFloatLanes;
  const float* w = tile.w + r * kFloatLanes;
  const VF inverse = InverseOf(exponent);
  VF error = hn::Zero(df);
  HWY_UNROLL(4)
  for (int e = 0; e < kTileElems; ++e) {
    const VF t = hn::Abs(hn::Mul(hn::Load(df, x + e * kTileBlocks), inverse));
    const Rounder rounder(hn::Min(t, hn::Set(df, 6.0f)));
    const VF miss = hn::Sub(t, rounder.Value());
    VF square = hn::Mul(miss, miss);
    if constexpr (kWeighted) {
      square = hn::Mul(square, hn::Load(df, w + e * kTileBlocks));
    }
    error = hn::Add(error, square);
  }
  return error;
}

template <bool kWeighted>
HWY_INLINE VI FindExponent(const Tile& tile, int r, SearchLevel search) {
  const DF df;
  const DI di;
  const VF peak = hn::Max(hn::Abs(hn::Load(df, tile.lo + r * kFloatLanes)),
                          hn::Abs(hn::Load(df, tile.hi + r * kFloatLanes)));
  const VI log2 = hn::ShiftRight<23>(hn::BitCast(di, peak));  // + 127
  const VI base = hn::Max(hn::Sub(log2, hn::Set(di, 2)), hn::Zero(di));
  if (search == SearchLevel::kFast) return base;
  VI best = base;
  VF least = ErrorOf<kWeighted>(tile, r, base);
  for (const int move : {1, -1}) {
    const VI near =
        hn::Min(hn::Max(hn::Add(base, hn::Set(di, move)), hn::Zero(di)),
                hn::Set(di, kLargestExponent));
    // In units of `base`.
    const VI doublings = hn::ShiftLeft<1>(hn::Sub(near, base));
    const VF unit = hn::BitCast(
        df, hn::ShiftLeft<23>(hn::Add(doublings, hn::Set(di, 127))));
    const VF error = hn::Mul(ErrorOf<kWeighted>(tile, r, near), unit);
    const MF better = hn::Lt(error, least);
    least = hn::IfThenElse(better, error, least);
    best = hn::IfThenElse(hn::RebindMask(di, better), near, best);
  }
  return best;
}

struct Mxfp4Codes {
  const float* x;
  VF inverse;

  HWY_INLINE VI operator()(int e) const {
    const DI di;
    const VF t = hn::Mul(hn::Load(DF(), x + e * kTileBlocks), inverse);
    const Rounder rounder(hn::Min(hn::Abs(t), hn::Set(DF(), 6.0f)));
    const VI code = rounder.Code();
    const VI sign =
        hn::And(hn::ShiftRight<28>(hn::BitCast(di, t)), hn::Set(di, 8));
    // Zero has no sign.
    return hn::Or(code, hn::IfThenZeroElse(hn::Eq(code, hn::Zero(di)), sign));
  }
};

template <bool kWeighted>
void EncodeMx(const float* x, int64_t blocks, const float* importance,
              SearchLevel search, uint8_t* out) {
  Tile tile;
  PackedTile packed;
  for (int64_t begin = 0; begin < blocks; begin += kTileBlocks) {
    const int64_t count = std::min<int64_t>(kTileBlocks, blocks - begin);
    LoadTile<kWeighted>(x + begin * kTileElems, importance + begin * kTileElems,
                        count, tile, std::numeric_limits<float>::max());
    for (int r = 0; r < kRegisters; ++r) {
      const VI exponent = FindExponent<kWeighted>(tile, r, search);
      hn::Store(exponent, DI(), packed.d + r * kFloatLanes);
      PackNibbles<false>(
          Mxfp4Codes{tile.x + r * kFloatLanes, InverseOf(exponent)}, r, packed);
    }
    for (int64_t b = 0; b < count; ++b, out += kMxfp4Bytes) {
      out[0] = static_cast<uint8_t>(packed.d[b]);
      std::memcpy(out + 1, packed.nibbles + 4 * b, 16);
    }
  }
}

void EncodeMxfp4(const float* x, int64_t n, const float* importance,
                 SearchLevel search, uint8_t* blocks) {
  if (importance != nullptr && search == SearchLevel::kDefault) {
    EncodeMx<true>(x, n / kTileElems, importance, search, blocks);
  } else {
    EncodeMx<false>(x, n / kTileElems, x, search, blocks);
  }
}

// Twice F, so that half of the power of two is a float for every E.
struct Mxfp4Value {
  VF half_scale;

  HWY_INLINE VF operator()(VI code) const {
    const DF df;
    const DI di;
    // 2F = m for m < 4, else (4 + m % 2 * 2) << (m / 2 - 2) for m >= 4.
    const VI m = hn::And(code, hn::Set(di, 7));
    const VI odd = hn::And(m, hn::Set(di, 1));
    const VI base = hn::Add(hn::Set(di, 4), hn::ShiftLeft<1>(odd));
    const auto large = hn::Gt(m, hn::Set(di, 5));
    const VI grown = hn::IfThenElse(large, hn::ShiftLeft<1>(base), base);
    const VI twice = hn::IfThenElse(hn::Lt(m, hn::Set(di, 4)), m, grown);
    const auto negative = hn::Gt(code, hn::Set(di, 7));
    const VI value = hn::IfThenElse(negative, hn::Neg(twice), twice);
    return hn::Mul(hn::ConvertTo(df, value), half_scale);
  }
};

// 2^(E - 128): subnormal for E < 2.
HWY_INLINE float HalfScale(uint8_t exponent) {
  const uint32_t bits =
      exponent < 2 ? 0x00200000u << exponent : (exponent - 1u) << 23;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

void DecodeMxfp4(const uint8_t* blocks, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kTileElems, blocks += kMxfp4Bytes) {
    const Mxfp4Value value{hn::Set(DF(), HalfScale(blocks[0]))};
    UnpackNibbles<false>(blocks + 1, 0, value, out + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
HWY_EXPORT(EncodeMxfp4);
HWY_EXPORT(DecodeMxfp4);

void EncodeMXFP4(const float* x, int64_t n, const float* importance,
                 SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeMxfp4)(x, n, importance, search, blocks);
}
void DecodeMXFP4(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeMxfp4)(blocks, n, out);
}
}  // namespace quant
#endif  // HWY_ONCE

// Q4_0 and Q5_0: 32 weights, one scale, integers around zero.
//
//   x_hat = d * (q - 2^(b-1)),   q = 0 .. 2^b - 1,   b = 4 or 5
//
// Layout (b = 4: 18 bytes, b = 5: 22): d f16; b = 5: fifth bits, bit e of a
// 32-bit word; 16 bytes, byte j with the low four bits of element j below and
// those of element j + 16 above.
// Source: the ggml block types of these names. The reference takes
// d = peak / -2^(b-1) without a search; see ggml_scale-inl.h for ours.
#include <cstdint>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_symmetric.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_scale-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

// Where the search maps the peak of a block. Found by a greedy choice from a
// fine grid, on blocks of normal, Student and Laplace weights; the last ones
// clip the peak, which pays only where importances differ.
template <int kHalf>
struct Peaks;
template <>
struct Peaks<8> {
  static constexpr float kPeaks[] = {-8.7f, -7.15f, -8.3f, -7.7f, -9.9f, -9.2f};
  static constexpr int kPlainPeaks = 4;
};
template <>
struct Peaks<16> {
  static constexpr float kPeaks[] = {-15.05f, -16.65f, -16.3f,  -14.4f, -15.7f,
                                     -14.1f,  -17.95f, -17.25f, -13.1f};
  static constexpr int kPlainPeaks = 5;
};

template <int kHalf>
struct IntegerGrid : Peaks<kHalf> {
  static constexpr float kFirst = -kHalf;
  static constexpr int kFastPeaks = 0;

  HWY_INLINE VF Factor(VF inverse) const { return inverse; }

  template <bool kFar>
  HWY_INLINE VF Nearest(VF t) const {
    return RintClamped<-kHalf, kHalf - 1>(t);
  }
};

// Codes of one register of a tile for the stored scale.
template <int kHalf>
struct IntegerCodes {
  const float* x;
  VF inverse;

  HWY_INLINE VI operator()(int e) const {
    const VF t = hn::Mul(hn::Load(DF(), x + e * kTileBlocks), inverse);
    return CodeClamped<-kHalf, kHalf - 1>(t);
  }
};

template <int kHalf, bool kWeighted>
void EncodeSymmetric(const float* x, int64_t blocks, const float* importance,
                     SearchLevel search, uint8_t* out) {
  constexpr bool kFifth = kHalf == 16;
  const IntegerGrid<kHalf> grid;
  Tile tile;
  PackedTile packed;
  for (int64_t begin = 0; begin < blocks; begin += kTileBlocks) {
    const int64_t count = std::min<int64_t>(kTileBlocks, blocks - begin);
    LoadTile<kWeighted>(x + begin * kTileElems, importance + begin * kTileElems,
                        count, tile);
    for (int r = 0; r < kRegisters; ++r) {
      const VF d =
          FindScale<IntegerGrid<kHalf>, kWeighted>(grid, tile, r, search);
      const VI code = F16Codes(d);
      hn::Store(code, DI(), packed.d + r * kFloatLanes);
      const IntegerCodes<kHalf> codes{tile.x + r * kFloatLanes,
                                      InverseOrZero(F16Values(code))};
      PackNibbles<kFifth>(codes, r, packed);
    }
    for (int64_t b = 0; b < count; ++b) {
      StoreF16(packed.d[b], out);
      out += 2;
      if constexpr (kFifth) {
        std::memcpy(out, packed.high + b, 4);
        out += 4;
      }
      std::memcpy(out, packed.nibbles + 4 * b, 16);
      out += 16;
    }
  }
}

template <int kHalf>
void EncodeSymmetricImpl(const float* x, int64_t n, const float* importance,
                         SearchLevel search, uint8_t* blocks) {
  if (importance != nullptr && search == SearchLevel::kDefault) {
    EncodeSymmetric<kHalf, true>(x, n / kTileElems, importance, search, blocks);
  } else {
    EncodeSymmetric<kHalf, false>(x, n / kTileElems, x, search, blocks);
  }
}

void EncodeQ40(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  EncodeSymmetricImpl<8>(x, n, importance, search, blocks);
}

void EncodeQ50(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  EncodeSymmetricImpl<16>(x, n, importance, search, blocks);
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
                SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ40)(x, n, importance, search, blocks);
}
void EncodeQ5_0(const float* x, int64_t n, const float* importance,
                SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ50)(x, n, importance, search, blocks);
}
void DecodeQ4_0(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeQ40)(blocks, n, out);
}
void DecodeQ5_0(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeQ50)(blocks, n, out);
}
}  // namespace quant
#endif  // HWY_ONCE

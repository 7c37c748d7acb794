// TQ1_0 and TQ2_0: 256 weights, one scale, three values.
//
//   x_hat = d * (q - 1),   q = 0, 1, 2
//
// Layout: TQ2_0, 66 bytes: 64 bytes, bits 2s and 2s + 1 of byte 32a + m with
// the code of element 128a + 32s + m; d f16.
// TQ1_0, 54 bytes: 48 bytes with five base-3 digits each, 4 bytes with four;
// d f16. Byte m < 32 holds the elements m + 32t, byte 32 + m (m < 16) the
// elements 160 + m + 16t, byte 48 + j the elements 240 + j + 4t, t = 0 being
// the first digit. A number v of five digits (the fifth 0 where there are four)
// is stored as ceil(256 v / 243), so that digit t is the integer part of
// 3 * frac(byte * 3^t / 256).
// Source: the ggml block types of these names. The reference takes d = peak,
// which suits weights that are ternary already. Here some scales between the
// mean magnitude and the peak are tried and improved as in ggml_scale-inl.h:
// ternary weights still come out exactly, others with half the error.
//
// Legend: lane l (0..15) of a block sums the elements 16k + l in order of k;
// lanes are then added pairwise. So sums are the same on every target.
#include <cstdint>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_ternary.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

constexpr int kTernaryElems = 256;
constexpr int kTq1Bytes = 54;
constexpr int kTq2Bytes = 66;

struct LaneTotals {
  VF lanes[kRegisters];

  HWY_INLINE LaneTotals() {
    for (VF& v : lanes) v = hn::Zero(DF());
  }
  HWY_INLINE void Add(int r, VF v) { lanes[r] = hn::Add(lanes[r], v); }
  HWY_INLINE float Total() const {
    alignas(64) float sums[kVirtualLanes];
    for (int r = 0; r < kRegisters; ++r) {
      hn::Store(lanes[r], DF(), sums + r * kFloatLanes);
    }
    for (int width = kVirtualLanes / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
    }
    return sums[0];
  }
};

// One block, clamped to what f16 scales can hold with room, and its weights,
// scaled as those of a tile are.
struct TernaryBlock {
  alignas(64) float x[kTernaryElems];
  alignas(64) float w[kTernaryElems];
  float peak;
  float mean;  // of magnitudes, weighted
};

HWY_INLINE void LoadImportance(const float* importance, TernaryBlock& block) {
  float largest = 0;
  for (int i = 0; i < kTernaryElems; ++i) {
    largest = std::max(largest, importance[i]);
  }
  // In double nothing overflows.
  const double unit = largest > 0 ? 1.0 / largest : 0.0;
  for (int i = 0; i < kTernaryElems; ++i) {
    block.w[i] =
        std::max(static_cast<float>(importance[i] * unit), kLeastImportance);
  }
}

template <bool kWeighted>
HWY_INLINE void LoadBlock(const float* x, const float* importance,
                          TernaryBlock& block) {
  const DF df;
  VF peak = hn::Zero(df);
  LaneTotals sum, weight;
  if constexpr (kWeighted) LoadImportance(importance, block);
  for (int i = 0; i < kTernaryElems; i += kVirtualLanes) {
    for (int r = 0; r < kRegisters; ++r) {
      const int at = i + r * kFloatLanes;
      const VF v = Clamp(hn::LoadU(df, x + at), -kTileCeiling, kTileCeiling);
      hn::Store(v, df, block.x + at);
      const VF a = hn::Abs(v);
      peak = hn::Max(peak, a);
      if constexpr (kWeighted) {
        const VF w = hn::Load(df, block.w + at);
        sum.Add(r, hn::Mul(w, a));
        weight.Add(r, w);
      } else {
        sum.Add(r, a);
      }
    }
  }
  block.peak = hn::GetLane(hn::MaxOfLanes(df, peak));
  block.mean = sum.Total() / (kWeighted ? weight.Total() : kTernaryElems);
}

HWY_INLINE VF Trit(VF x, VF inverse) {
  return Rint(Clamp(hn::Mul(x, inverse), -1, 1));
}

struct TernaryFit {
  float xv = 0, vv = 0;

  HWY_INLINE float Scale() const { return vv > 0 ? xv / vv : 0.0f; }
};

template <bool kWeighted>
HWY_INLINE TernaryFit FitTernary(const TernaryBlock& block, float inverse) {
  const DF df;
  const VF factor = hn::Set(df, inverse);
  LaneTotals xv, vv;
  HWY_UNROLL(4)
  for (int i = 0; i < kTernaryElems; i += kVirtualLanes) {
    for (int r = 0; r < kRegisters; ++r) {
      const int at = i + r * kFloatLanes;
      const VF x = hn::Load(df, block.x + at);
      const VF v = Trit(x, factor);
      VF wv = v;
      if constexpr (kWeighted) wv = hn::Mul(v, hn::Load(df, block.w + at));
      xv.Add(r, hn::Mul(wv, x));
      vv.Add(r, hn::Mul(wv, v));
    }
  }
  return {xv.Total(), vv.Total()};
}

// Multiples of the mean magnitude that are tried as d, besides the peak. For
// normal weights the best d is 1.53 of it.
constexpr float kMultiples[] = {1.5f, 2.2f, 1.1f};
constexpr int kAlternations = 4;

template <bool kWeighted>
HWY_INLINE float FindTernaryScale(const TernaryBlock& block,
                                  SearchLevel search) {
  if (block.peak < kTileFloor) return 0;
  TernaryFit best = FitTernary<kWeighted>(block, 1 / block.peak);
  const auto consider = [&](float d) HWY_ATTR {
    if (!(d > 0)) return;
    const TernaryFit fit = FitTernary<kWeighted>(block, 1 / d);
    if (fit.xv * fit.xv * best.vv > best.xv * best.xv * fit.vv) best = fit;
  };
  for (const float multiple : kMultiples) {
    consider(multiple * block.mean);
    if (search == SearchLevel::kFast) break;
  }
  if (search == SearchLevel::kDefault) {
    for (int i = 0; i < kAlternations; ++i) consider(best.Scale());
  }
  return best.Scale();
}

// x [256] -> codes [256] and the f16 code of d.
template <bool kWeighted>
HWY_INLINE int32_t EncodeTrits(const float* x, const float* importance,
                               SearchLevel search, uint8_t* codes) {
  const DF df;
  const DI di;
  const hn::Rebind<uint8_t, DI> d8;
  TernaryBlock block;
  LoadBlock<kWeighted>(x, importance, block);
  const VI code =
      F16Codes(hn::Set(df, FindTernaryScale<kWeighted>(block, search)));
  const VF inverse = InverseOrZero(F16Values(code));
  for (int i = 0; i < kTernaryElems; i += kFloatLanes) {
    const VF v = Trit(hn::Load(df, block.x + i), inverse);
    const VI q = hn::Add(hn::NearestInt(v), hn::Set(di, 1));
    hn::StoreU(hn::DemoteTo(d8, q), d8, codes + i);
  }
  return hn::GetLane(code);
}

HWY_INLINE void PackTq2(const uint8_t* codes, uint8_t* out) {
  for (int a = 0; a < 2; ++a, codes += 128, out += 32) {
    for (int m = 0; m < 32; ++m) {
      out[m] = static_cast<uint8_t>(codes[m] | codes[32 + m] << 2 |
                                    codes[64 + m] << 4 | codes[96 + m] << 6);
    }
  }
}

HWY_INLINE void UnpackTq2(const uint8_t* bytes, uint8_t* codes) {
  for (int a = 0; a < 2; ++a, codes += 128, bytes += 32) {
    for (int s = 0; s < 4; ++s) {
      for (int m = 0; m < 32; ++m) {
        codes[32 * s + m] = bytes[m] >> (2 * s) & 3;
      }
    }
  }
}

// TQ1_0 has three runs of bytes: digit t of byte m is element
// m + t * kBytes of those that are left.
template <int kBytes, int kDigits>
HWY_INLINE void PackDigits(const uint8_t* HWY_RESTRICT codes,
                           uint8_t* HWY_RESTRICT out) {
  for (int m = 0; m < kBytes; ++m) {
    uint32_t v = 0;
    for (int t = 0; t < kDigits; ++t) v = 3 * v + codes[m + t * kBytes];
    if constexpr (kDigits == 4) v *= 3;
    out[m] = static_cast<uint8_t>((256 * v + 242) / 243);
  }
}

HWY_INLINE void PackTq1(const uint8_t* codes, uint8_t* out) {
  PackDigits<32, 5>(codes, out);
  PackDigits<16, 5>(codes + 160, out + 32);
  PackDigits<4, 4>(codes + 240, out + 48);
}

template <int kBytes, int kDigits>
HWY_INLINE void UnpackDigits(const uint8_t* HWY_RESTRICT bytes,
                             uint8_t* HWY_RESTRICT codes) {
  uint8_t fractions[kBytes];  // of 256
  std::memcpy(fractions, bytes, kBytes);
  for (int t = 0; t < kDigits; ++t) {
    for (int m = 0; m < kBytes; ++m) {
      const int tripled = 3 * fractions[m];
      codes[m + t * kBytes] = static_cast<uint8_t>(tripled >> 8);
      fractions[m] = static_cast<uint8_t>(tripled);
    }
  }
}

HWY_INLINE void UnpackTq1(const uint8_t* bytes, uint8_t* codes) {
  UnpackDigits<32, 5>(bytes, codes);
  UnpackDigits<16, 5>(bytes + 32, codes + 160);
  UnpackDigits<4, 4>(bytes + 48, codes + 240);
}

template <bool kTq1, bool kWeighted>
HWY_INLINE void EncodeTernary(const float* x, int64_t n,
                              const float* importance, SearchLevel search,
                              uint8_t* out) {
  uint8_t codes[kTernaryElems];
  for (int64_t i = 0; i < n; i += kTernaryElems) {
    const int32_t d =
        EncodeTrits<kWeighted>(x + i, importance + i, search, codes);
    if constexpr (kTq1) {
      PackTq1(codes, out);
    } else {
      PackTq2(codes, out);
    }
    out += kTq1 ? kTq1Bytes : kTq2Bytes;
    StoreF16(d, out - 2);
  }
}

template <bool kTq1>
HWY_INLINE void EncodeTernaryImpl(const float* x, int64_t n,
                                  const float* importance, SearchLevel search,
                                  uint8_t* blocks) {
  if (importance != nullptr && search == SearchLevel::kDefault) {
    EncodeTernary<kTq1, true>(x, n, importance, search, blocks);
  } else {
    EncodeTernary<kTq1, false>(x, n, x, search, blocks);
  }
}

template <bool kTq1>
HWY_INLINE void DecodeTernary(const uint8_t* blocks, int64_t n, float* out) {
  const DF df;
  const DI di;
  const hn::Rebind<uint8_t, DI> d8;
  constexpr int kBytes = kTq1 ? kTq1Bytes : kTq2Bytes;
  uint8_t codes[kTernaryElems];
  for (int64_t i = 0; i < n; i += kTernaryElems, blocks += kBytes) {
    if constexpr (kTq1) {
      UnpackTq1(blocks, codes);
    } else {
      UnpackTq2(blocks, codes);
    }
    const VF d = hn::Set(df, LoadF16(blocks + kBytes - 2));
    for (int e = 0; e < kTernaryElems; e += kFloatLanes) {
      const VI q = hn::PromoteTo(di, hn::LoadU(d8, codes + e));
      const VF v = hn::ConvertTo(df, hn::Sub(q, hn::Set(di, 1)));
      hn::StoreU(hn::Mul(v, d), df, out + i + e);
    }
  }
}

void EncodeTq1(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  EncodeTernaryImpl<true>(x, n, importance, search, blocks);
}

void EncodeTq2(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  EncodeTernaryImpl<false>(x, n, importance, search, blocks);
}

void DecodeTq1(const uint8_t* blocks, int64_t n, float* out) {
  DecodeTernary<true>(blocks, n, out);
}

void DecodeTq2(const uint8_t* blocks, int64_t n, float* out) {
  DecodeTernary<false>(blocks, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
HWY_EXPORT(EncodeTq1);
HWY_EXPORT(EncodeTq2);
HWY_EXPORT(DecodeTq1);
HWY_EXPORT(DecodeTq2);

void EncodeTQ1_0(const float* x, int64_t n, const float* importance,
                 SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeTq1)(x, n, importance, search, blocks);
}
void EncodeTQ2_0(const float* x, int64_t n, const float* importance,
                 SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeTq2)(x, n, importance, search, blocks);
}
void DecodeTQ1_0(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeTq1)(blocks, n, out);
}
void DecodeTQ2_0(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeTq2)(blocks, n, out);
}
}  // namespace quant
#endif  // HWY_ONCE

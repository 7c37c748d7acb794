// Q4_1 and Q5_1: 32 weights, a scale and a minimum.
//
//   x_hat = d * q + m,   q = 0 .. 2^b - 1,   b = 4 or 5
//
// Layout (b = 4: 20 bytes, b = 5: 24): d f16, m f16; b = 5: fifth bits, bit e
// of a 32-bit word; 16 bytes, byte j with the low four bits of element j below
// and those of element j + 16 above.
// Source: the ggml block types of these names.
//
// Search: with y = x - mean (weighted by w) and given codes q, least squares
// says d = sum(w y q) / V, m = mean - d * sum(w q) / sum(w), where
// V = sum(w q q) - sum(w q)^2 / sum(w); it removes sum(w y q)^2 / V from the
// error. Some affine maps of the block's range are tried, then the best d and
// m themselves (Lloyd). Differences from the reference, which takes the range
// (without weights) or a grid of scales for the whole range with m <= 0: the
// ends of the range move independently, m has any sign, w is the importance
// itself, and after m was rounded to f16, d is found again for that m.
#include <cstdint>

#include "core/kernels/ggml_blocks.h"
#include "core/kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ggml_affine.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

// Where the search maps the block's minimum (to `lo`) and maximum (to `hi`
// above the largest code), by descending gain. Found by a greedy choice from a
// fine grid, on blocks of normal, Student and Laplace weights, half of them
// with random importances.
struct RangeMap {
  float lo, hi;
};
template <int kMax>
struct Maps;
template <>
struct Maps<15> {
  static constexpr RangeMap kMaps[] = {
      {0.25f, 0.5f},   {-0.5f, 0.0f},  {-0.25f, 0.5f}, {0.0f, -1.0f},
      {-1.0f, 0.0f},   {-0.25f, 0.0f}, {0.25f, 0.25f}, {-0.25f, 1.25f},
      {0.25f, -0.75f}, {-0.75f, 0.5f}};
};
template <>
struct Maps<31> {
  static constexpr RangeMap kMaps[] = {
      {-0.25f, -0.75f}, {-0.25f, -0.25f}, {0.25f, 0.25f}, {0.0f, -2.0f},
      {0.0f, -1.25f},   {0.25f, -1.0f},   {1.0f, -2.0f},  {-0.75f, 0.0f},
      {-0.25f, 0.5f},   {0.0f, 0.75f},    {-0.5f, 0.25f}, {2.0f, -2.0f}};
};
constexpr int kAffineRefinements = 2;

struct AffineFit {
  VF yq;        // sum w y q
  VF q;         // sum w q
  VF variance;  // sum w q q - (sum w q)^2 / sum w
};

struct AffineTile {
  Tile tile;  // x is y here
  alignas(64) float mean[kTileBlocks];
  alignas(64) float inverse_weight[kTileBlocks];  // 1 / sum w
};

// x -> x - mean.
template <bool kWeighted>
HWY_INLINE void Center(AffineTile& t, int r) {
  const DF df;
  float* x = t.tile.x + r * kFloatLanes;
  const float* w = t.tile.w + r * kFloatLanes;
  VF sum = hn::Zero(df), weight = hn::Set(df, kTileElems);
  if constexpr (kWeighted) weight = hn::Zero(df);
  HWY_UNROLL(4)
  for (int e = 0; e < kTileElems; ++e) {
    VF v = hn::Load(df, x + e * kTileBlocks);
    if constexpr (kWeighted) {
      const VF we = hn::Load(df, w + e * kTileBlocks);
      weight = hn::Add(weight, we);
      v = hn::Mul(v, we);
    }
    sum = hn::Add(sum, v);
  }
  const VF inverse = hn::Div(hn::Set(df, 1.0f), weight);
  const VF mean = hn::Mul(sum, inverse);
  for (int e = 0; e < kTileElems; ++e) {
    float* at = x + e * kTileBlocks;
    hn::Store(hn::Sub(hn::Load(df, at), mean), df, at);
  }
  hn::Store(mean, df, t.mean + r * kFloatLanes);
  hn::Store(inverse, df, t.inverse_weight + r * kFloatLanes);
}

// Codes nearest to y * inverse + offset.
template <int kMax, bool kWeighted>
HWY_INLINE AffineFit FitAffine(const AffineTile& t, int r, VF inverse,
                               VF offset) {
  const DF df;
  const float* y = t.tile.x + r * kFloatLanes;
  const float* w = t.tile.w + r * kFloatLanes;
  VF yq = hn::Zero(df), sum = hn::Zero(df), qq = hn::Zero(df);
  HWY_UNROLL(4)
  for (int e = 0; e < kTileElems; ++e) {
    const VF ye = hn::Load(df, y + e * kTileBlocks);
    const VF q = RintClamped<0, kMax>(hn::Add(hn::Mul(ye, inverse), offset));
    VF wq = q;
    if constexpr (kWeighted) {
      wq = hn::Mul(q, hn::Load(df, w + e * kTileBlocks));
    }
    yq = hn::Add(yq, hn::Mul(wq, ye));
    sum = hn::Add(sum, wq);
    qq = hn::Add(qq, hn::Mul(wq, q));
  }
  const VF per_weight = hn::Load(df, t.inverse_weight + r * kFloatLanes);
  const VF variance = hn::Sub(qq, hn::Mul(hn::Mul(sum, sum), per_weight));
  return {yq, sum, hn::Max(variance, hn::Zero(df))};
}

HWY_INLINE void KeepBetter(const AffineFit& fit, AffineFit& best) {
  const MF better = hn::Gt(hn::Mul(hn::Mul(fit.yq, fit.yq), best.variance),
                           hn::Mul(hn::Mul(best.yq, best.yq), fit.variance));
  best.yq = hn::IfThenElse(better, fit.yq, best.yq);
  best.q = hn::IfThenElse(better, fit.q, best.q);
  best.variance = hn::IfThenElse(better, fit.variance, best.variance);
}

// d, and the code that y = 0 has.
struct Affine {
  VF d;
  VF zero;
};

HWY_INLINE Affine AffineOf(const AffineFit& fit, VF per_weight) {
  return {hn::Mul(fit.yq, InverseOrZero(fit.variance)),
          hn::Mul(fit.q, per_weight)};
}

template <int kMax, bool kWeighted>
HWY_INLINE Affine FindAffine(const AffineTile& t, int r, SearchLevel search) {
  const DF df;
  const int at = r * kFloatLanes;
  const VF mean = hn::Load(df, t.mean + at);
  const VF per_weight = hn::Load(df, t.inverse_weight + at);
  const VF lo = hn::Sub(hn::Load(df, t.tile.lo + at), mean);
  const VF hi = hn::Sub(hn::Load(df, t.tile.hi + at), mean);
  const VF range = hn::Sub(hi, lo);
  const VF unit = InverseOrZero(
      hn::IfThenZeroElse(hn::Lt(range, hn::Set(df, kTileFloor)), range));
  const auto fit = [&](float to_lo, float to_hi) HWY_ATTR {
    const VF inverse = hn::Mul(unit, hn::Set(df, kMax + to_hi - to_lo));
    const VF offset = hn::Sub(hn::Set(df, to_lo), hn::Mul(lo, inverse));
    return FitAffine<kMax, kWeighted>(t, r, inverse, offset);
  };
  AffineFit best = fit(0, 0);
  if (search == SearchLevel::kDefault) {
    for (const RangeMap& map : Maps<kMax>::kMaps)
      KeepBetter(fit(map.lo, map.hi), best);
    for (int i = 0; i < kAffineRefinements; ++i) {
      const Affine found = AffineOf(best, per_weight);
      KeepBetter(
          FitAffine<kMax, kWeighted>(t, r, InverseOrZero(found.d), found.zero),
          best);
    }
  }
  return AffineOf(best, per_weight);
}

// The best d for a minimum that is `m` above the mean.
template <int kMax, bool kWeighted>
HWY_INLINE VF RefitScale(const AffineTile& t, int r, VF d, VF m) {
  const DF df;
  const float* y = t.tile.x + r * kFloatLanes;
  const float* w = t.tile.w + r * kFloatLanes;
  const VF inverse = InverseOrZero(d);
  VF zq = hn::Zero(df), qq = hn::Zero(df);
  HWY_UNROLL(4)
  for (int e = 0; e < kTileElems; ++e) {
    const VF z = hn::Sub(hn::Load(df, y + e * kTileBlocks), m);
    const VF q = RintClamped<0, kMax>(hn::Mul(z, inverse));
    VF wq = q;
    if constexpr (kWeighted) {
      wq = hn::Mul(q, hn::Load(df, w + e * kTileBlocks));
    }
    zq = hn::Add(zq, hn::Mul(wq, z));
    qq = hn::Add(qq, hn::Mul(wq, q));
  }
  return hn::Mul(zq, InverseOrZero(qq));
}

template <int kMax>
struct AffineCodes {
  const float* y;
  VF inverse;
  VF m;  // above the mean

  HWY_INLINE VI operator()(int e) const {
    const VF z = hn::Sub(hn::Load(DF(), y + e * kTileBlocks), m);
    return CodeClamped<0, kMax>(hn::Mul(z, inverse));
  }
};

template <int kMax, bool kWeighted>
HWY_INLINE void EncodeRegister(AffineTile& t, int r, SearchLevel search,
                               PackedTile& packed) {
  const DF df;
  const DI di;
  Center<kWeighted>(t, r);
  const int at = r * kFloatLanes;
  const VF mean = hn::Load(df, t.mean + at);
  const Affine found = FindAffine<kMax, kWeighted>(t, r, search);
  const VI m_code = F16Codes(hn::Sub(mean, hn::Mul(found.d, found.zero)));
  const VF m = hn::Sub(F16Values(m_code), mean);
  VF d = found.d;
  if (search == SearchLevel::kDefault) {
    d = RefitScale<kMax, kWeighted>(t, r, d, m);
  }
  const VI d_code = F16Codes(d);
  const AffineCodes<kMax> codes{t.tile.x + at, InverseOrZero(F16Values(d_code)),
                                m};
  PackNibbles<kMax == 31>(codes, r, packed);
  hn::Store(d_code, di, packed.d + at);
  hn::Store(m_code, di, packed.m + at);
}

template <int kMax, bool kWeighted>
void EncodeAffine(const float* x, int64_t blocks, const float* importance,
                  SearchLevel search, uint8_t* out) {
  AffineTile t;
  PackedTile packed;
  for (int64_t begin = 0; begin < blocks; begin += kTileBlocks) {
    const int64_t count = std::min<int64_t>(kTileBlocks, blocks - begin);
    LoadTile<kWeighted>(x + begin * kTileElems, importance + begin * kTileElems,
                        count, t.tile);
    for (int r = 0; r < kRegisters; ++r) {
      EncodeRegister<kMax, kWeighted>(t, r, search, packed);
    }
    for (int64_t b = 0; b < count; ++b) {
      StoreF16(packed.d[b], out);
      StoreF16(packed.m[b], out + 2);
      out += 4;
      if constexpr (kMax == 31) {
        std::memcpy(out, packed.high + b, 4);
        out += 4;
      }
      std::memcpy(out, packed.nibbles + 4 * b, 16);
      out += 16;
    }
  }
}

template <int kMax>
void EncodeAffineImpl(const float* x, int64_t n, const float* importance,
                      SearchLevel search, uint8_t* blocks) {
  if (importance != nullptr && search == SearchLevel::kDefault) {
    EncodeAffine<kMax, true>(x, n / kTileElems, importance, search, blocks);
  } else {
    EncodeAffine<kMax, false>(x, n / kTileElems, x, search, blocks);
  }
}

void EncodeQ41(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  EncodeAffineImpl<15>(x, n, importance, search, blocks);
}

void EncodeQ51(const float* x, int64_t n, const float* importance,
               SearchLevel search, uint8_t* blocks) {
  EncodeAffineImpl<31>(x, n, importance, search, blocks);
}

struct AffineValue {
  VF d, m;

  HWY_INLINE VF operator()(VI code) const {
    return hn::Add(hn::Mul(hn::ConvertTo(DF(), code), d), m);
  }
};

template <bool kFifth>
HWY_INLINE void DecodeAffine(const uint8_t* blocks, int64_t n, float* out) {
  const DF df;
  for (int64_t i = 0; i < n; i += kTileElems) {
    const AffineValue value{hn::Set(df, LoadF16(blocks)),
                            hn::Set(df, LoadF16(blocks + 2))};
    blocks += 4;
    uint32_t high = 0;
    if constexpr (kFifth) {
      std::memcpy(&high, blocks, 4);
      blocks += 4;
    }
    UnpackNibbles<kFifth>(blocks, high, value, out + i);
    blocks += 16;
  }
}

void DecodeQ41(const uint8_t* blocks, int64_t n, float* out) {
  DecodeAffine<false>(blocks, n, out);
}

void DecodeQ51(const uint8_t* blocks, int64_t n, float* out) {
  DecodeAffine<true>(blocks, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
HWY_EXPORT(EncodeQ41);
HWY_EXPORT(EncodeQ51);
HWY_EXPORT(DecodeQ41);
HWY_EXPORT(DecodeQ51);

void EncodeQ4_1(const float* x, int64_t n, const float* importance,
                SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ41)(x, n, importance, search, blocks);
}
void EncodeQ5_1(const float* x, int64_t n, const float* importance,
                SearchLevel search, uint8_t* blocks) {
  HWY_DYNAMIC_DISPATCH(EncodeQ51)(x, n, importance, search, blocks);
}
void DecodeQ4_1(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeQ41)(blocks, n, out);
}
void DecodeQ5_1(const uint8_t* blocks, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeQ51)(blocks, n, out);
}
}  // namespace quant
#endif  // HWY_ONCE

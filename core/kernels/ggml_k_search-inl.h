// What the searches for the scales of K-quant blocks share: 16 sub-blocks side
// by side, one per virtual lane, so that no sum crosses lanes and every target
// adds in the same order. Included once per target by each kernel file (hence
// the toggled guard).
//
// A block is first multiplied by a power of two that brings its largest
// magnitude to [1, 2), and its weights likewise: no sum can overflow, and
// nothing but the rounding to F16 depends on the size of the weights.
#if defined(QUANT_CORE_KERNELS_GGML_K_SEARCH_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_K_SEARCH_INL_H_
#undef QUANT_CORE_KERNELS_GGML_K_SEARCH_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_K_SEARCH_INL_H_
#endif

#include <algorithm>

#include "core/kernels/ggml_k_blocks.h"
#include "core/kernels/ggml_k_scales.h"
#include "core/kernels/lane_sums.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kVirtualLanes>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;
using MF = hn::Mask<DF>;

constexpr int kFloatLanes = static_cast<int>(hn::MaxLanes(DF()));

// One float per virtual lane.
struct alignas(64) LaneArray {
  float lane[kVirtualLanes];

  HWY_INLINE VF At(int first) const { return hn::Load(DF(), lane + first); }
  HWY_INLINE void Put(int first, VF v) { hn::Store(v, DF(), lane + first); }
};

HWY_INLINE VF Splat(float value) { return hn::Set(DF(), value); }

// Added to |v| < 2^22, leaves the nearest integer, ties to even, in the low
// bits.
constexpr float kMagic = 0x1.8p23f;

// To the nearest integer, ties to even, for |v| < 2^22.
HWY_INLINE VF Rounded(VF v) {
#if HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SCALAR
  return hn::Sub(hn::Add(v, Splat(kMagic)), Splat(kMagic));
#else
  return hn::Round(v);
#endif
}

HWY_INLINE VF Clamped(VF v, float lo, float hi) {
  return hn::Min(hn::Max(v, Splat(lo)), Splat(hi));
}

// 1/v, and 0 for v below what is worth inverting: such scales are zero.
HWY_INLINE VF InverseOrZero(VF v) {
  const VF least = Splat(kLeastScale);
  return hn::IfThenElseZero(hn::Ge(v, least),
                            hn::Div(Splat(1.0f), hn::Max(v, least)));
}

// The largest bits among magnitudes: ordered like the magnitudes themselves.
inline uint32_t LargestBits(const float* x) {
  const DF df;
  const DU du;
  auto largest = hn::Zero(du);
  for (int i = 0; i < kKElems; i += kFloatLanes) {
    const auto bits = hn::BitCast(du, hn::LoadU(df, x + i));
    largest = hn::Max(largest, hn::And(bits, hn::Set(du, 0x7FFFFFFFu)));
  }
  return hn::GetLane(hn::MaxOfLanes(du, largest));
}

// Element i of sub-block j goes to to[i].lane[first_lane + j], times factor and
// at least floor. Squares of 4 x 4 elements at a time.
template <int kElems>
HWY_INLINE void Transpose(const float* x, float factor, float floor,
                          int first_lane, LaneArray* to) {
#if HWY_TARGET == HWY_SCALAR
  for (int j = 0; j < kKElems / kElems; ++j) {
    for (int i = 0; i < kElems; ++i) {
      to[i].lane[first_lane + j] = std::max(x[j * kElems + i] * factor, floor);
    }
  }
#else
  const hn::FixedTag<float, 4> d4;
  const hn::RepartitionToWide<decltype(d4)> d2;
  const auto f = hn::Set(d4, factor);
  const auto least = hn::Set(d4, floor);
  for (int j = 0; j < kKElems / kElems; j += 4) {
    for (int i = 0; i < kElems; i += 4) {
      hn::Vec<decltype(d4)> row[4];
      for (int k = 0; k < 4; ++k) {
        const auto v = hn::LoadU(d4, x + (j + k) * kElems + i);
        row[k] = hn::Max(hn::Mul(v, f), least);
      }
      // Pairs of rows, then pairs of pairs.
      const auto a = hn::BitCast(d2, hn::InterleaveLower(d4, row[0], row[1]));
      const auto b = hn::BitCast(d2, hn::InterleaveUpper(d4, row[0], row[1]));
      const auto c = hn::BitCast(d2, hn::InterleaveLower(d4, row[2], row[3]));
      const auto e = hn::BitCast(d2, hn::InterleaveUpper(d4, row[2], row[3]));
      float* at = to[i].lane + first_lane + j;
      const auto store = [&](auto v, int k) {
        hn::Store(hn::BitCast(d4, v), d4, at + k * kVirtualLanes);
      };
      store(hn::InterleaveLower(d2, a, c), 0);
      store(hn::InterleaveUpper(d2, a, c), 1);
      store(hn::InterleaveLower(d2, b, e), 2);
      store(hn::InterleaveUpper(d2, b, e), 3);
    }
  }
#endif
}

// 16 sub-blocks of one block, or of two.
template <int kElems>
struct Batch {
  static constexpr int kLanes = kKElems / kElems;  // of one block
  static constexpr int kCount = kVirtualLanes / kLanes;

  LaneArray x[kElems];
  LaneArray w[kElems];
  Magnitude magnitude[kCount];

  // Without importance, w is neither written nor to be read.
  void Load(int block, const float* values, const float* importance) {
    const int first = block * kLanes;
    magnitude[block] = MagnitudeOf(LargestBits(values));
    Transpose<kElems>(values, magnitude[block].factor, -kBeyondNormal, first,
                      x);
    if (importance == nullptr) return;
    const Weighting weighting = WeightingOf(LargestBits(importance));
    if (weighting.equal) {
      for (LaneArray& row : w) std::fill_n(row.lane + first, kLanes, 1.0f);
    } else {
      Transpose<kElems>(importance, weighting.factor, kLeastWeight, first, w);
    }
  }

  // kFloatLanes values of a block, normalised as in x.
  HWY_INLINE VF Value(int block, const float* values) const {
    return hn::Mul(hn::LoadU(DF(), values), Splat(magnitude[block].factor));
  }
};

// Whole codes 0..255, or what rounds to such.
HWY_INLINE void StoreCodes(VF codes, uint8_t* out) {
  const hn::Rebind<uint8_t, DU> d8;
  const auto bits = hn::BitCast(DU(), hn::Add(codes, Splat(kMagic)));
  hn::StoreU(hn::TruncateTo(d8, bits), d8, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

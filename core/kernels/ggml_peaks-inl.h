// The weight of largest magnitude of each of several blocks of 32, with its
// sign; of two of one magnitude, the negative one.
//
// Legend: as ggml_tile-inl.h.
//
// Included once per target by each kernel file (hence the toggled guard).
#if defined(QUANT_CORE_KERNELS_GGML_PEAKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANT_CORE_KERNELS_GGML_PEAKS_INL_H_
#undef QUANT_CORE_KERNELS_GGML_PEAKS_INL_H_
#else
#define QUANT_CORE_KERNELS_GGML_PEAKS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "core/kernels/ggml_tile-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
// Ascends with the magnitude; the sign is in the lowest bit.
HWY_INLINE hn::Vec<DU> PeakKey(VF v) {
  return hn::RotateRight<31>(hn::BitCast(DU(), v));
}

HWY_INLINE hn::Vec<DU> LargestKeys(const float* x) {
  auto keys = PeakKey(hn::LoadU(DF(), x));
  for (int e = kFloatLanes; e < kTileElems; e += kFloatLanes) {
    keys = hn::Max(keys, PeakKey(hn::LoadU(DF(), x + e)));
  }
  return keys;
}

// The largest of every fourth lane.
template <class D>
HWY_INLINE hn::Vec<hn::CappedTag<uint32_t, 4>> LargestQuad(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return LargestQuad(half,
                       hn::Max(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// Four blocks [32] -> peaks [4]
HWY_INLINE void PeaksOfFour(const float* x0, const float* x1, const float* x2,
                            const float* x3, float* peaks) {
  const DU du;
  const hn::RepartitionToWide<DU> d64;
  const auto b0 = LargestKeys(x0), b1 = LargestKeys(x1);
  const auto b2 = LargestKeys(x2), b3 = LargestKeys(x3);
  const auto b01 = hn::BitCast(d64, hn::Max(hn::InterleaveLower(du, b0, b1),
                                            hn::InterleaveUpper(du, b0, b1)));
  const auto b23 = hn::BitCast(d64, hn::Max(hn::InterleaveLower(du, b2, b3),
                                            hn::InterleaveUpper(du, b2, b3)));
  const auto all = hn::Max(hn::BitCast(du, hn::InterleaveLower(d64, b01, b23)),
                           hn::BitCast(du, hn::InterleaveUpper(d64, b01, b23)));
  const auto keys = LargestQuad(du, all);
  const hn::CappedTag<float, 4> d4;
  hn::StoreU(hn::BitCast(d4, hn::RotateRight<1>(keys)), d4, peaks);
}
#else
HWY_INLINE float PeakOfBlock(const float* x) {
  const auto [lo, hi] = std::minmax_element(x, x + kTileElems);
  return *hi > -*lo ? *hi : *lo;
}

HWY_INLINE void PeaksOfFour(const float* x0, const float* x1, const float* x2,
                            const float* x3, float* peaks) {
  const float* blocks[] = {x0, x1, x2, x3};
  for (int b = 0; b < 4; ++b) peaks[b] = PeakOfBlock(blocks[b]);
}
#endif

// x [count, 32] -> peaks [count, up to the next multiple of four]
HWY_INLINE void PeaksOfBlocks(const float* x, int64_t count, float* peaks) {
  const auto block = [&](int64_t b) QUANT_INLINE_LAMBDA {
    return x + std::min(b, count - 1) * kTileElems;
  };
  for (int64_t b = 0; b < count; b += 4) {
    PeaksOfFour(block(b), block(b + 1), block(b + 2), block(b + 3), peaks + b);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

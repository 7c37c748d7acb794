#include "core/kernels/narrow_rows.h"

#include <algorithm>

#include "core/kernels/simd.h"
#include "core/tensor/float_formats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/narrow_rows.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Per target, after the line above:
#include "core/kernels/int_blocks-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {

constexpr uint16_t kSign = 0x8000;

template <class D>
HWY_INLINE uint16_t Largest(D d, hn::Vec<D> v) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(D()) > 8) {
    const hn::Half<D> half;
    return Largest(half,
                   hn::Max(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
#endif
  // x86 has an instruction for the least of eight, not for the largest.
  return static_cast<uint16_t>(~hn::GetLane(hn::MinOfLanes(d, hn::Not(v))));
}

// Magnitudes, as codes without their sign, of the least negative and the
// largest positive element: both kinds of float ascend with their codes.
HWY_INLINE void MagnitudesOf(const uint16_t* x, int64_t n, uint16_t* negative,
                             uint16_t* positive) {
  const hn::ScalableTag<uint16_t> du;
  const hn::RebindToSigned<decltype(du)> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(du));
  auto below = hn::Zero(di);
  auto above = below;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto code = hn::LoadU(du, x + i);
    above = hn::Max(above, hn::BitCast(di, code));
    below = hn::Max(below, hn::BitCast(di, hn::Xor(code, hn::Set(du, kSign))));
  }
  *negative = Largest(du, hn::BitCast(du, below));
  *positive = Largest(du, hn::BitCast(du, above));
  for (; i < n; ++i) {
    uint16_t* side = (x[i] & kSign) != 0 ? negative : positive;
    *side = std::max<uint16_t>(*side, x[i] & ~kSign);
  }
}

template <float (*kToFloat)(uint16_t), uint16_t kInfinity>
HWY_INLINE bool Ranges(const uint16_t* x, int64_t n, int64_t group, float* lo,
                       float* hi) {
  bool finite = true;
  for (int64_t begin = 0; begin < n; begin += group) {
    uint16_t negative, positive;
    MagnitudesOf(x + begin, std::min(group, n - begin), &negative, &positive);
    finite &= std::max(negative, positive) < kInfinity;
    *lo++ = -kToFloat(negative);
    *hi++ = kToFloat(positive);
  }
  return finite;
}

bool Bf16Ranges(const uint16_t* x, int64_t n, int64_t group, float* lo,
                float* hi) {
  return Ranges<Bf16ToF32, 0x7F80>(x, n, group, lo, hi);
}

bool F16Ranges(const uint16_t* x, int64_t n, int64_t group, float* lo,
               float* hi) {
  return Ranges<F16ToF32, 0x7C00>(x, n, group, lo, hi);
}

void EncodeBf16(const IntRow& row, const uint16_t* x, int8_t* codes,
                LaneSums& sums) {
  EncodeRow<Bf16Source>(row, x, codes, sums);
}

void EncodeF16(const IntRow& row, const uint16_t* x, int8_t* codes,
               LaneSums& sums) {
  EncodeRow<F16Source>(row, x, codes, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
namespace {
HWY_EXPORT(Bf16Ranges);
HWY_EXPORT(F16Ranges);
HWY_EXPORT(EncodeBf16);
HWY_EXPORT(EncodeF16);
}  // namespace

bool NarrowGroupRanges(DType dtype, const uint8_t* x, int64_t n, int64_t group,
                       float* lo, float* hi) {
  const auto* codes = reinterpret_cast<const uint16_t*>(x);
  if (dtype == DType::kF16) {
    return HWY_DYNAMIC_DISPATCH(F16Ranges)(codes, n, group, lo, hi);
  }
  return HWY_DYNAMIC_DISPATCH(Bf16Ranges)(codes, n, group, lo, hi);
}

void EncodeNarrowIntRow(const IntRow& row, DType dtype, const uint8_t* x,
                        int8_t* codes, LaneSums& sums) {
  const auto* elements = reinterpret_cast<const uint16_t*>(x);
  if (dtype == DType::kF16) {
    HWY_DYNAMIC_DISPATCH(EncodeF16)(row, elements, codes, sums);
  } else {
    HWY_DYNAMIC_DISPATCH(EncodeBf16)(row, elements, codes, sums);
  }
}

}  // namespace quant
#endif  // HWY_ONCE

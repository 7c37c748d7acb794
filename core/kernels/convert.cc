#include "core/kernels/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/kernels/simd.h"
#include "core/tensor/float_formats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/convert.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr uint16_t kBf16Infinity = 0x7F80;
constexpr uint16_t kF16Infinity = 0x7C00;

HWY_INLINE uint16_t F16At(const uint8_t* bytes, int64_t index) {
  uint16_t code;
  std::memcpy(&code, bytes + 2 * index, 2);
  return code;
}

bool Bf16Row(const uint8_t* bytes, int64_t count, float* out) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du32;
  const hn::Rebind<uint16_t, decltype(df)> du16;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  auto largest = hn::Zero(du32);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto raw =
        hn::LoadU(du16, reinterpret_cast<const uint16_t*>(bytes + 2 * i));
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(du32, raw));
    largest = hn::Max(largest, hn::And(bits, hn::Set(du32, 0x7FFFFFFFu)));
    hn::StoreU(hn::BitCast(df, bits), df, out + i);
  }
  bool finite = hn::AllTrue(
      du32, hn::Lt(largest, hn::Set(du32, uint32_t{kBf16Infinity} << 16)));
  for (; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes + 2 * i, 2);
    out[i] = Bf16ToF32(bits);
    finite &= (bits & 0x7FFF) < kBf16Infinity;
  }
  return finite;
}

bool F16Row(const uint8_t* bytes, int64_t count, float* out) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du32;
  const hn::Rebind<hwy::float16_t, decltype(df)> df16;
  const hn::Rebind<uint16_t, decltype(df)> du16;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  auto largest = hn::Zero(du32);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto half =
        hn::LoadU(df16, reinterpret_cast<const hwy::float16_t*>(bytes + 2 * i));
    const auto code = hn::PromoteTo(
        du32,
        hn::LoadU(du16, reinterpret_cast<const uint16_t*>(bytes + 2 * i)));
    largest = hn::Max(largest, hn::And(code, hn::Set(du32, 0x7FFFu)));
    hn::StoreU(hn::PromoteTo(df, half), df, out + i);
  }
  bool finite =
      hn::AllTrue(du32, hn::Lt(largest, hn::Set(du32, uint32_t{kF16Infinity})));
  for (; i < count; ++i) {
    const uint16_t code = F16At(bytes, i);
    out[i] = F16ToF32(code);
    finite &= (code & 0x7FFF) < kF16Infinity;
  }
  if (finite) return true;
  // Without the CPU's own instruction, Highway reads infinities and NaN as
  // large numbers. Such rows are rare: they are done again.
  for (i = 0; i < count; ++i) out[i] = F16ToF32(F16At(bytes, i));
  return false;
}

bool F32Row(const uint8_t* bytes, int64_t count, float* out) {
  if (count > 0) std::memcpy(out, bytes, 4 * count);
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du32;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  auto largest = hn::Zero(du32);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::BitCast(du32, hn::LoadU(df, out + i));
    largest = hn::Max(largest, hn::And(bits, hn::Set(du32, 0x7FFFFFFFu)));
  }
  bool finite = hn::AllTrue(du32, hn::Lt(largest, hn::Set(du32, 0x7F800000u)));
  for (; i < count; ++i) finite &= std::isfinite(out[i]);
  return finite;
}

// One group: lanes first, then the lanes among themselves. Order does not
// matter: minimum and maximum are exact.
void RangeOf(const float* x, int64_t n, float* lo, float* hi) {
  const hn::ScalableTag<float> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  float smallest = x[0], greatest = x[0];
  int64_t i = 0;
  if (n >= lanes) {
    auto vlo = hn::LoadU(df, x);
    auto vhi = vlo;
    for (i = lanes; i + lanes <= n; i += lanes) {
      const auto v = hn::LoadU(df, x + i);
      vlo = hn::Min(vlo, v);
      vhi = hn::Max(vhi, v);
    }
    smallest = hn::GetLane(hn::MinOfLanes(df, vlo));
    greatest = hn::GetLane(hn::MaxOfLanes(df, vhi));
  }
  for (; i < n; ++i) {
    smallest = std::min(smallest, x[i]);
    greatest = std::max(greatest, x[i]);
  }
  *lo = smallest;
  *hi = greatest;
}

void GroupRangesImpl(const float* x, int64_t n, int64_t group, float* lo,
                     float* hi) {
  for (int64_t begin = 0; begin < n; begin += group) {
    RangeOf(x + begin, std::min(group, n - begin), lo++, hi++);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quant {
namespace {

HWY_EXPORT(Bf16Row);
HWY_EXPORT(F16Row);
HWY_EXPORT(F32Row);
HWY_EXPORT(GroupRangesImpl);

bool F64Row(const uint8_t* bytes, int64_t count, float* out) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    double value;
    std::memcpy(&value, bytes + 8 * i, 8);
    out[i] = static_cast<float>(value);
    finite &= std::isfinite(out[i]);
  }
  return finite;
}

}  // namespace

bool ConvertToF32(DType dtype, const uint8_t* bytes, int64_t count,
                  float* out) {
  switch (dtype) {
    case DType::kBF16:
      return HWY_DYNAMIC_DISPATCH(Bf16Row)(bytes, count, out);
    case DType::kF16:
      return HWY_DYNAMIC_DISPATCH(F16Row)(bytes, count, out);
    case DType::kF32:
      return HWY_DYNAMIC_DISPATCH(F32Row)(bytes, count, out);
    default:
      return F64Row(bytes, count, out);
  }
}

bool AllFinite(DType dtype, const uint8_t* bytes, int64_t count) {
  constexpr int64_t kChunk = 2048;
  float scratch[kChunk];
  const int64_t element_bytes = DTypeBits(dtype) / 8;
  bool finite = true;
  for (int64_t i = 0; i < count; i += kChunk) {
    finite &= ConvertToF32(dtype, bytes + i * element_bytes,
                           std::min(kChunk, count - i), scratch);
  }
  return finite;
}

void GroupRanges(const float* x, int64_t n, int64_t group, float* lo,
                 float* hi) {
  HWY_DYNAMIC_DISPATCH(GroupRangesImpl)(x, n, group, lo, hi);
}

}  // namespace quant
#endif  // HWY_ONCE

// Integers of 2 to 8 bits.
//
//   symmetric   s = max|x| / ((2^b - 1) / 2)          z = 0
//   asymmetric  s = (hi - lo) / (2^b - 1)             z = rint(q_min - lo / s)
//   q = clamp(rint(x / s) + z, q_min, q_max), q_min = -2^(b-1),
//   q_max = 2^(b-1) - 1
//
// Source: compressed-tensors' rules (symmetric: scale = max|x| / ((q_max -
// q_min) / 2)). The range always includes 0. Because a scale stored as F16 or
// BF16 is rounded upwards, |x - x_hat| <= s / 2 up to float rounding: the
// largest value sits at q_max + 1/2 at most, and both clamped ends lose at most
// half a step. An F32 scale is the nearest float, which decides the many ties
// at q_max + 1/2 as every other implementation does.
//
// Where z must be above q_min (Scheme::zero_above_lowest), the range is widened
// to lo <= -hi / (2^b - 2): the first step below zero is then used, and the
// bound stays what it is.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/codec/codec.h"
#include "core/kernels/int_codes.h"
#include "core/kernels/int_scales.h"
#include "core/kernels/narrow_rows.h"

namespace quant {
namespace {

class IntCodec final : public Codec {
 public:
  explicit IntCodec(const Scheme& scheme)
      : Codec(scheme),
        // LLM.int8() does not use -128.
        q_min_(-(1 << (scheme.bits - 1)) +
               (scheme.scales == ScaleKind::kRowMax127 ? 1 : 0)),
        q_max_((1 << (scheme.bits - 1)) - 1),
        zero_min_(q_min_ + (scheme.zero_above_lowest ? 1 : 0)) {}

  bool has_zeros() const override { return !scheme().symmetric; }

  ScaleZero FromRange(float lo, float hi, ScaleType scale_type) const override {
    if (of_row_maxima()) {
      const float largest = std::max({-lo, hi, 0.0f});
      // In F32, as loaders divide the stored maximum.
      const float scale = largest / 127;
      return {.scale = largest == 0 ? 1.0f : std::max(scale, 0x1p-149f)};
    }
    hi = std::max(hi, 0.0f);
    lo = std::min(Widened(lo, hi), 0.0f);
    const double steps = q_max_ - q_min_;
    // In double: hi - lo may exceed the largest float.
    const double width =
        scheme().symmetric
            ? 2.0 * std::max(-static_cast<double>(lo), static_cast<double>(hi))
            : static_cast<double>(hi) - lo;
    if (width == 0) return {};
    const float scale = StoredScale(width / steps, scale_type.dtype);
    if (scheme().symmetric) return {.scale = scale};
    const double zero =
        std::nearbyint(q_min_ - static_cast<double>(lo) / scale);
    return {.scale = scale,
            .zero = static_cast<int8_t>(
                std::clamp<double>(zero, zero_min_, q_max_))};
  }

  void FromRanges(const float* lo, const float* hi, int64_t n,
                  ScaleType scale_type, float* scales,
                  int8_t* zeros) const override {
    if (of_row_maxima()) {
      Codec::FromRanges(lo, hi, n, scale_type, scales, zeros);
      return;
    }
    if (scheme().zero_above_lowest) {
      Codec::FromRanges(lo, hi, n, scale_type, scales, zeros);
      return;
    }
    IntScales({.symmetric = scheme().symmetric,
               .q_min = q_min_,
               .q_max = q_max_,
               .scale_type = scale_type.dtype},
              lo, hi, n, scales, zeros);
    for (int64_t i = 0; i < n; ++i) {
      if (scales[i] != 0) continue;
      Codec::FromRanges(lo + i, hi + i, 1, scale_type, scales + i,
                        zeros ? zeros + i : nullptr);
    }
  }

  bool takes_narrow_rows() const override { return !of_row_maxima(); }
  void EncodeNarrowRow(DType dtype, const uint8_t* x, int64_t cols,
                       const RowScales& scales, uint8_t* codes,
                       LaneSums& sums) const override {
    EncodeNarrowIntRow(ToRow(cols, scales), dtype, x,
                       reinterpret_cast<int8_t*>(codes), sums);
  }

  void EncodeRow(const float* x, int64_t cols, const RowScales& scales,
                 uint8_t* codes, LaneSums& sums) const override {
    EncodeIntRow(ToRow(cols, scales), x, reinterpret_cast<int8_t*>(codes),
                 sums);
  }

  void DecodeRow(const uint8_t* codes, int64_t cols, const RowScales& scales,
                 float* out) const override {
    DecodeIntRow(ToRow(cols, scales), reinterpret_cast<const int8_t*>(codes),
                 out);
  }

 private:
  // Scales then have all bits of F32.
  bool of_row_maxima() const {
    return scheme().scales == ScaleKind::kRowMax127;
  }

  // The lower end of a range with the upper end `hi` >= 0.
  float Widened(float lo, float hi) const {
    return zero_min_ == q_min_
               ? lo
               : std::min(lo, -hi / static_cast<float>(q_max_ - q_min_ - 1));
  }

  // At least the smallest positive one.
  static float StoredScale(double value, DType type) {
    const float nearest = std::max(static_cast<float>(value), 0x1p-149f);
    // Between subnormal floats half a step is too much; near the largest ones
    // the tie's code would stand for infinity.
    const bool ordinary = std::isnormal(nearest) && nearest <= 0x1p120f;
    if (type == DType::kF32 && ordinary) return nearest;
    const bool below = static_cast<double>(nearest) < value;
    return RoundScaleUp(
        below ? std::nextafter(nearest, std::numeric_limits<float>::infinity())
              : nearest,
        type);
  }

  IntRow ToRow(int64_t cols, const RowScales& scales) const {
    return {.n = cols,
            .group = scales.group,
            .scales = scales.scales,
            .zero_points = scales.zeros,
            .q_min = q_min_,
            .q_max = q_max_,
            .narrow = scales.narrow && !of_row_maxima()};
  }

  int q_min_;
  int q_max_;
  int zero_min_;
};

}  // namespace

std::unique_ptr<Codec> MakeIntCodec(const Scheme& scheme) {
  return std::make_unique<IntCodec>(scheme);
}

}  // namespace quant

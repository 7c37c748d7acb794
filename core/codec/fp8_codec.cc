// FP8 with a scale: code = RNE(x / s), s = max|x| / largest, largest = 448
// (E4M3) or 57344 (E5M2).
//
// Source: compressed-tensors' float quantization rule; OCP 8-bit Floating Point
// Specification for the codes. The stored scale is rounded upwards, so nothing
// saturates; the error is at most half the distance to the neighbouring code.
#include <algorithm>

#include "core/codec/codec.h"
#include "core/codec/scale_grid.h"
#include "core/kernels/fp8_codes.h"

namespace quant {
namespace {

class Fp8Codec final : public Codec {
 public:
  explicit Fp8Codec(const Scheme& scheme)
      : Codec(scheme),
        kind_(scheme.type == NumberType::kF8E4M3 ? Fp8Kind::kE4M3
                                                 : Fp8Kind::kE5M2) {}

  ScaleZero FromRange(float lo, float hi, ScaleType scale_type) const override {
    return {.scale = ScaleOnGrid(
                scheme().scales,
                {.largest = std::max({-lo, hi, 0.0f}),
                 .greatest_code = kind_ == Fp8Kind::kE4M3 ? 448.0f : 57344.0f},
                scale_type)};
  }

  void EncodeRow(const float* x, int64_t cols, const RowScales& scales,
                 uint8_t* codes, LaneSums& sums) const override {
    EncodeFp8Row(ToRow(cols, scales), x, codes, sums);
  }

  void DecodeRow(const uint8_t* codes, int64_t cols, const RowScales& scales,
                 float* out) const override {
    DecodeFp8Row(ToRow(cols, scales), codes, out);
  }

 private:
  Fp8Row ToRow(int64_t cols, const RowScales& scales) const {
    return {.n = cols,
            .group = scales.group,
            .scales = scales.scales,
            .kind = kind_};
  }

  Fp8Kind kind_;
};

}  // namespace

std::unique_ptr<Codec> MakeFp8Codec(const Scheme& scheme) {
  return std::make_unique<Fp8Codec>(scheme);
}

}  // namespace quant

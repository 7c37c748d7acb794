// Plain casts to F16, BF16 and F32: round to nearest even, no scale. A finite
// value beyond the type's range becomes infinite and is counted; so is a nonzero
// value that becomes zero.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/codec/codec.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

class CastCodec final : public Codec {
 public:
  using Codec::Codec;

  int code_bytes() const override {
    return scheme().type == NumberType::kF32 ? 4 : 2;
  }

  ScaleZero FromRange(float lo, float hi, DType scale_type) const override {
    return {};
  }

  void EncodeRow(const float* x, int64_t cols, const RowScales& scales,
                 uint8_t* codes, LaneSums& sums) const override {
    for (int64_t i = 0; i < cols; ++i) {
      const float back = EncodeOne(x[i], codes, i);
      // An overflow is counted as such; as an error it would be infinite.
      const float error = std::isfinite(back) ? back - x[i] : 0.0f;
      const int lane = static_cast<int>(i % kVirtualLanes);
      sums.noise[lane] += static_cast<double>(error) * error;
      sums.signal[lane] += static_cast<double>(x[i]) * x[i];
      sums.max_abs_error = std::max(sums.max_abs_error, std::abs(error));
    }
  }

  void DecodeRow(const uint8_t* codes, int64_t cols, const RowScales& scales,
                 float* out) const override {
    for (int64_t i = 0; i < cols; ++i) out[i] = DecodeOne(codes, i);
  }

  void CountLoss(const float* x, const uint8_t* codes, int64_t cols,
                 CastLoss& loss) const override {
    for (int64_t i = 0; i < cols; ++i) {
      const float back = DecodeOne(codes, i);
      loss.overflow += !std::isfinite(back);
      loss.underflow += x[i] != 0 && back == 0;
    }
  }

 private:
  float EncodeOne(float value, uint8_t* codes, int64_t i) const {
    if (scheme().type == NumberType::kF32) {
      std::memcpy(codes + 4 * i, &value, 4);
      return value;
    }
    const bool half = scheme().type == NumberType::kF16;
    const uint16_t bits = half ? F32ToF16(value) : F32ToBf16(value);
    std::memcpy(codes + 2 * i, &bits, 2);
    return half ? F16ToF32(bits) : Bf16ToF32(bits);
  }

  float DecodeOne(const uint8_t* codes, int64_t i) const {
    if (scheme().type == NumberType::kF32) {
      float value;
      std::memcpy(&value, codes + 4 * i, 4);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, codes + 2 * i, 2);
    return scheme().type == NumberType::kF16 ? F16ToF32(bits)
                                             : Bf16ToF32(bits);
  }
};

}  // namespace

std::unique_ptr<Codec> MakeCastCodec(const Scheme& scheme) {
  return std::make_unique<CastCodec>(scheme);
}

}  // namespace quant

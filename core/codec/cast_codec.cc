// Plain casts to F16, BF16 and F32: round to nearest even, no scale. A finite
// value beyond the type's range becomes infinite and is counted; so is a
// nonzero value that becomes zero.
#include <cstring>

#include "core/codec/codec.h"
#include "core/kernels/cast_codes.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

class CastCodec final : public Codec {
 public:
  using Codec::Codec;

  int code_bytes() const override {
    return scheme().type == NumberType::kF32 ? 4 : 2;
  }

  ScaleZero FromRange(float lo, float hi, ScaleType scale_type) const override {
    return {};
  }

  void EncodeRow(const float* x, int64_t cols, const RowScales& scales,
                 uint8_t* codes, LaneSums& sums) const override {
    if (scheme().type == NumberType::kF32) {
      std::memcpy(codes, x, cols * sizeof(float));
      EncodeExact(x, cols, sums);
      return;
    }
    EncodeHalfRow(
        scheme().type == NumberType::kF16 ? HalfKind::kF16 : HalfKind::kBF16, x,
        cols, reinterpret_cast<uint16_t*>(codes), sums);
  }

  void DecodeRow(const uint8_t* codes, int64_t cols, const RowScales& scales,
                 float* out) const override {
    for (int64_t i = 0; i < cols; ++i) out[i] = DecodeOne(codes, i);
  }

 private:
  static void EncodeExact(const float* x, int64_t cols, LaneSums& sums) {
    for (int64_t i = 0; i < cols; ++i) {
      sums.signal[i % kVirtualLanes] += static_cast<double>(x[i]) * x[i];
    }
  }

  float DecodeOne(const uint8_t* codes, int64_t i) const {
    if (scheme().type == NumberType::kF32) {
      float value;
      std::memcpy(&value, codes + 4 * i, 4);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, codes + 2 * i, 2);
    return scheme().type == NumberType::kF16 ? F16ToF32(bits) : Bf16ToF32(bits);
  }
};

}  // namespace

std::unique_ptr<Codec> MakeCastCodec(const Scheme& scheme) {
  return std::make_unique<CastCodec>(scheme);
}

}  // namespace quant

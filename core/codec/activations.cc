#include "core/codec/activations.h"

#include <algorithm>
#include <cmath>

#include "core/codec/codec.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

constexpr int64_t kGroup = 128;
constexpr float kInt8Half = 127.5f;
constexpr float kFp8Largest = 448;

float LargestOf(Activations kind) {
  return IsInt8(kind) ? kInt8Half : kFp8Largest;
}

float AbsMax(const float* x, int64_t n) {
  float most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
  return most;
}

void RoundInt8(float scale, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = std::clamp(std::nearbyint(x[i] / scale), -128.0f, 127.0f) * scale;
  }
}

void RoundFp8(float scale, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float code = std::clamp(x[i] / scale, -kFp8Largest, kFp8Largest);
    x[i] = E4m3ToF32(F32ToE4m3(code)) * scale;
  }
}

void RoundWith(Activations kind, float scale, float* x, int64_t n) {
  // Subnormal inputs: nothing that a product would notice.
  if (!(scale > 0)) return std::fill(x, x + n, 0.0f);
  IsInt8(kind) ? RoundInt8(scale, x, n) : RoundFp8(scale, x, n);
}

}  // namespace

void RoundInputs(const InputRounding& rounding, float* x, int64_t n) {
  switch (rounding.kind) {
    case Activations::kNone:
      return;
    case Activations::kInt8TensorStatic:
    case Activations::kFp8TensorStatic:
      return RoundWith(rounding.kind, rounding.scale, x, n);
    case Activations::kInt8TokenDynamic:
    case Activations::kFp8TokenDynamic:
      return RoundWith(rounding.kind, AbsMax(x, n) / LargestOf(rounding.kind),
                       x, n);
    case Activations::kFp8Group128Dynamic:
      for (int64_t i = 0; i < n; i += kGroup) {
        const int64_t count = std::min(kGroup, n - i);
        RoundWith(rounding.kind, AbsMax(x + i, count) / kFp8Largest, x + i,
                  count);
      }
  }
}

float StaticInputScale(Activations kind, float absmax, DType stored) {
  if (absmax == 0) return 1;
  const float scale = RoundScaleUp(absmax / LargestOf(kind), stored);
  return scale > 0 ? scale : 1;
}

}  // namespace quant

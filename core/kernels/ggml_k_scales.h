// Scalar parts of the search for the scales of K-quant blocks: the sizes of
// values and weights, and scales rounded to F16.
#ifndef QUANT_CORE_KERNELS_GGML_K_SCALES_H_
#define QUANT_CORE_KERNELS_GGML_K_SCALES_H_

#include <cstdint>

namespace quant {

// Blocks are normalised to a largest magnitude in [1, 2) (up to 4 at the top of
// float32). A scale below this is as good as none.
inline constexpr float kLeastScale = 0x1p-100f;
// Beyond every normalised value, and every error.
inline constexpr float kBeyondNormal = 8.0f;
inline constexpr float kHuge = 1e30f;
// A range below this has no scale of its own worth storing.
inline constexpr float kLeastRange = 1e-12f;
// Weights are at least this fraction of a block's largest: sub-blocks without
// weight are still encoded sensibly.
inline constexpr float kLeastWeight = 0x1p-40f;

// count numbers from first on, step apart.
struct Grid {
  int count;
  float first, step;

  constexpr float At(int i) const {
    return first + step * static_cast<float>(i);
  }
};

struct Magnitude {
  bool zero;     // every value rounds to zero, whatever the scales
  int exponent;  // normalised = value * 2^-exponent
  float factor;  // 2^-exponent
};

// From the bits of the largest magnitude.
Magnitude MagnitudeOf(uint32_t largest_bits);

struct Weighting {
  bool equal;  // all zero, or not finite: no preference
  float factor;
};

Weighting WeightingOf(uint32_t largest_bits);

// A stored scale and what it is worth in normalised units.
struct HalfScale {
  uint16_t code = 0;
  float value = 0;
};

// The F16 nearest to a normalised scale, or the least one above it; saturates
// at 65504, and is zero for what is not positive.
HalfScale NearestHalf(double scale, int exponent);
HalfScale HalfAbove(double scale, int exponent);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_GGML_K_SCALES_H_

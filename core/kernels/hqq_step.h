// One half-quadratic step over one group: what core/method/hqq.cc needs to
// know of a scale s and a zero point z.
//
//   q = clamp(rint(x / s) + z, q_min, q_max)     d = q - z
//   o = x / s - d                                what the code misses, in steps
//   w = sign(o) max(|o| - |o|^(p - 1) / beta, 0) the part taken for an outlier
//   u = x / s - w                                what the code ought to be
//
// with p = 3/4: the power is then two square roots and a division, which IEEE
// rounds alike on every CPU (a general power does not). Source: Badri and
// Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023.
//
// The scalar twin is core/kernels/reference.h; sums are equal bit for bit on
// every target: doubles in 16 virtual lanes, element i in lane i % 16.
#ifndef QUANT_CORE_KERNELS_HQQ_STEP_H_
#define QUANT_CORE_KERNELS_HQQ_STEP_H_

#include <cstdint>

namespace quant {

struct HqqGroup {
  int64_t n = 0;
  float scale = 1;  // > 0, finite
  int zero = 0;     // within [q_min, q_max]
  int q_min = 0;
  int q_max = 0;
  float inverse_beta = 1;
};

// Below this |o| counts as this: no division by zero.
inline constexpr float kHqqSmallestMiss = 1e-8f;

struct HqqSums {
  double noise = 0;  // sum of (d s - x)^2, as EncodeIntRow measures it
  double u = 0;      // sums of u, d, u d and d^2
  double d = 0;
  double ud = 0;
  double dd = 0;
};

// x [n] finite.
HqqSums HqqStep(const HqqGroup& group, const float* x);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_HQQ_STEP_H_

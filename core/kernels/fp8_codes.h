// FP8 codes of one row: code = RNE(x / s) saturated, x_hat = value(code) * s.
//
// Legend: n elements of a row, g = ceil(n / group) groups, each with its scale
// s > 0. The scalar twins are F32ToE4m3 and F32ToE5m2 of
// core/tensor/float_formats.h; codes and sums are equal bit for bit on every
// target.
#ifndef QUANT_CORE_KERNELS_FP8_CODES_H_
#define QUANT_CORE_KERNELS_FP8_CODES_H_

#include <cstdint>

#include "core/kernels/lane_sums.h"

namespace quant {

enum class Fp8Kind { kE4M3, kE5M2 };

struct Fp8Row {
  int64_t n = 0;
  int64_t group = 0;
  const float* scales = nullptr;  // [g]
  Fp8Kind kind = Fp8Kind::kE4M3;
};

// x [n] finite -> codes [n], and adds the row to `sums`.
void EncodeFp8Row(const Fp8Row& row, const float* x, uint8_t* codes,
                  LaneSums& sums);

// codes [n] -> out [n].
void DecodeFp8Row(const Fp8Row& row, const uint8_t* codes, float* out);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_FP8_CODES_H_

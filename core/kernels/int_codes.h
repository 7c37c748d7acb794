// Integer codes of one row.
//
//   q     = clamp(rint(x / s) + z, q_min, q_max)      rint: half to even
//   x_hat = (q - z) * s
//
// Source: compressed-tensors' quantize rule; ONNX QuantizeLinear is the same.
// Legend: n elements of a row, g = ceil(n / group) groups of consecutive
// elements, each with its scale s > 0 (finite) and zero point z.
//
// The scalar twin is core/kernels/reference.h; codes and sums are equal bit for
// bit on every target.
#ifndef QUANT_CORE_KERNELS_INT_CODES_H_
#define QUANT_CORE_KERNELS_INT_CODES_H_

#include <cstdint>

#include "core/kernels/lane_sums.h"

namespace quant {

struct IntRow {
  int64_t n = 0;      // elements
  int64_t group = 0;  // elements per scale; the last group may be short
  const float* scales = nullptr;        // [g]
  const int8_t* zero_points = nullptr;  // [g], or null: all zero
  int q_min = 0;
  int q_max = 0;
  // x and s have at most 11 significant bits each (F16 or BF16 values): the
  // quotient is then found exactly without a division.
  bool narrow = false;
};

// x [n] finite -> codes [n] (two's complement), and adds the row to `sums`.
void EncodeIntRow(const IntRow& row, const float* x, int8_t* codes,
                  LaneSums& sums);

// codes [n] -> out [n].
void DecodeIntRow(const IntRow& row, const int8_t* codes, float* out);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_INT_CODES_H_

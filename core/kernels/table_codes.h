// 4-bit codes that stand for sixteen given numbers, of one row:
//
//   code  = that of the number nearest to x / s
//   x_hat = value(code) * s
//
// Tables (Source):
//   E2M1     OCP Microscaling 1.0: sign, 2 exponent bits, 1 mantissa bit; ties
//            go to the even code (NVFP4, MXFP4)
//   NF4      bitsandbytes: quantiles of a normal distribution; a value goes up
//            when it is strictly greater than the F32 midpoint of two numbers
//   bnb FP4  bitsandbytes' own FP4 (not E2M1), twelfths; the midpoint of two
//            magnitudes goes to the smaller one
// A code of E2M1 and bnb FP4 is a magnitude and the sign bit of x (8).
//
// Legend: n elements of a row, g = ceil(n / group) groups of consecutive
// elements, each with its scale s > 0. The scalar twin is
// core/kernels/reference.h; codes and sums are equal bit for bit on every
// target.
#ifndef QUANT_CORE_KERNELS_TABLE_CODES_H_
#define QUANT_CORE_KERNELS_TABLE_CODES_H_

#include <array>
#include <cstdint>

#include "core/kernels/lane_sums.h"

namespace quant {

enum class TableKind { kE2M1, kNF4, kBnbFp4 };

// How a quotient finds its code: from the lowest number upwards, a step is
// taken for each threshold that the quotient (or, with `signs`, its magnitude)
// is strictly greater than.
struct CodeTable {
  bool signs = false;
  int steps = 0;  // 15, or 7 with signs
  std::array<float, 15> thresholds = {};
  std::array<uint8_t, 16> codes = {};  // by steps taken
  std::array<float, 16> values = {};   // by code
  float largest = 1;                   // magnitude
};
const CodeTable& TableOf(TableKind kind);

struct TableRow {
  int64_t n = 0;
  int64_t group = 0;
  const float* scales = nullptr;  // [g]
  TableKind kind = TableKind::kE2M1;
};

// x [n] finite -> codes [n], one per byte, and adds the row to `sums`.
void EncodeTableRow(const TableRow& row, const float* x, uint8_t* codes,
                    LaneSums& sums);

// codes [n] -> out [n].
void DecodeTableRow(const TableRow& row, const uint8_t* codes, float* out);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_TABLE_CODES_H_

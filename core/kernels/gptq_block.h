// The inner loop of GPTQ: codes of the columns of one block, of many rows.
//
//   for i = 0 .. C - 1, for every row:
//     v   = w_i + sum_{j < i} S_ji d_j     in the order of j
//     q   = clamp(rint(v / s) + z, q_min, q_max)     s, z of i's group
//     d_i = o_i - (q - z) s
//
// Matrices lie with the columns of the weight outermost, so that rows are next
// to each other. Source: see core/method/gptq.cc.
//
// The scalar twin is core/kernels/reference.h; codes and d are equal bit for
// bit on every target.
//
// Legend: C columns of the block, R rows, G groups.
#ifndef QUANT_CORE_KERNELS_GPTQ_BLOCK_H_
#define QUANT_CORE_KERNELS_GPTQ_BLOCK_H_

#include <cstdint>

namespace quant {

// R is a multiple of this.
inline constexpr int64_t kGptqRows = 16;

struct GptqBlock {
  int64_t rows = 0;                 // R
  int64_t columns = 0;              // C
  const float* s = nullptr;         // [C, C], transposed: S_ji at [i][j]
  int64_t s_stride = 0;             // elements between its rows
  const int32_t* groups = nullptr;  // [C]: which of G
  const float* scales = nullptr;    // [G, R] > 0, finite
  const float* zeros = nullptr;     // [G, R], integers
  int q_min = 0;
  int q_max = 0;
};

// original (o), w [C, R] finite -> deltas (d), codes [C, R].
void RunGptqBlock(const GptqBlock& block, const float* original, const float* w,
                  float* deltas, int8_t* codes);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_GPTQ_BLOCK_H_

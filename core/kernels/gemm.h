// Products of float32 matrices, for the forward pass.
//
//   y [m, n] = alpha x [m, k] w^T     w [n, k], as Linears have it, or [k, n]
//
// oneDNN, always on one thread and on tiles that the caller's shapes alone
// determine: the same bits at any number of threads. Between instruction sets
// bits differ (docs/adr/0011).
#ifndef QUANT_CORE_KERNELS_GEMM_H_
#define QUANT_CORE_KERNELS_GEMM_H_

#include <cstdint>

#include "core/base/thread_pool.h"

namespace quant {

struct GemmArgs {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const float* x = nullptr;  // [m, k]
  int64_t x_stride = 0;      // elements between rows, here and below
  const float* w = nullptr;  // [n, k]; with w_is_kn [k, n]
  int64_t w_stride = 0;
  bool w_is_kn = false;
  float* y = nullptr;  // [m, n], apart from x and w
  int64_t y_stride = 0;
  float alpha = 1;
};

// On the calling thread, as one tile.
void Gemm(const GemmArgs& args);

// In tiles, on all threads of the pool.
void ParallelGemm(ThreadPool& pool, const GemmArgs& args);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_GEMM_H_

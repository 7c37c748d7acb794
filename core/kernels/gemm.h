// Products of float32 matrices.
//
//   y [m, n] = beta y + alpha x [m, k] w^T
//   w [n, k], as Linears have it, or [k, n]; x [m, k] or [k, m]
//
// oneDNN, always on one thread and on tiles that the caller's shapes alone
// determine: the same bits at any number of threads. Between instruction sets
// bits differ (docs/adr/0011).
#ifndef QUANT_CORE_KERNELS_GEMM_H_
#define QUANT_CORE_KERNELS_GEMM_H_

#include <cstdint>
#include <string>

#include "core/base/thread_pool.h"

namespace quant {

struct GemmArgs {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const float* x = nullptr;  // [m, k]; with x_is_km [k, m]
  int64_t x_stride = 0;      // elements between rows, here and below
  bool x_is_km = false;
  const float* w = nullptr;  // [n, k]; with w_is_kn [k, n]
  int64_t w_stride = 0;
  bool w_is_kn = false;
  float* y = nullptr;  // [m, n], apart from x and w
  int64_t y_stride = 0;
  float alpha = 1;
  float beta = 0;
};

// On the calling thread, as one tile.
void Gemm(const GemmArgs& args);

// In tiles, on all threads of the pool.
void ParallelGemm(ThreadPool& pool, const GemmArgs& args);

// Which instruction set products use here: where it is the same, so are their
// bits.
std::string GemmIsa();

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_GEMM_H_

// What the benchmarks of networks and methods share.
#ifndef QUANT_TESTS_BENCH_MEASURE_H_
#define QUANT_TESTS_BENCH_MEASURE_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include "core/base/thread_pool.h"
#include "core/kernels/gemm.h"

namespace quant {

inline std::vector<float> Normal(int64_t n, float size) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, size);
  std::vector<float> out(n);
  for (float& x : out) x = normal(random);
  return out;
}

// The least of some rounds, in seconds.
template <class Body>
double Least(const Body& body) {
  constexpr int kRounds = 3;
  double least = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - begin;
    least = std::min(least, took.count());
  }
  return least;
}

// What products of large matrices reach, per second.
inline double PeakFlops(ThreadPool& pool) {
  constexpr int64_t kSide = 4096;
  const std::vector<float> x = Normal(kSide * kSide, 1);
  std::vector<float> y(kSide * kSide);
  const double seconds = Least([&] {
    ParallelGemm(pool, {.m = kSide,
                        .n = kSide,
                        .k = kSide,
                        .x = x.data(),
                        .x_stride = kSide,
                        .w = x.data(),
                        .w_stride = kSide,
                        .y = y.data(),
                        .y_stride = kSide});
  });
  return 2.0 * kSide * kSide * kSide / seconds;
}

}  // namespace quant

#endif  // QUANT_TESTS_BENCH_MEASURE_H_

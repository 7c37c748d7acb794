#include "core/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace quant {
namespace {

std::vector<float> Random(int64_t n, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(n);
  for (float& x : out) x = normal(random);
  return out;
}

// Sums of k products of unit variance, in another order.
constexpr double kPerTerm = 1e-6;

TEST(Gemm, IsTheProductForRaggedSizesAndStrides) {
  ThreadPool pool(3);
  for (bool w_is_kn : {false, true}) {
    for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                           {5, 7, 3},
                           {193, 385, 64},
                           {400, 800, 31}}) {
      const int64_t x_stride = k + 3, y_stride = n + 2;
      const int64_t w_stride = (w_is_kn ? n : k) + 1;
      const auto x = Random(m * x_stride, 1);
      const auto w = Random((w_is_kn ? k : n) * w_stride, 2);
      std::vector<float> y(m * y_stride, 77);
      ParallelGemm(pool, {.m = m,
                          .n = n,
                          .k = k,
                          .x = x.data(),
                          .x_stride = x_stride,
                          .w = w.data(),
                          .w_stride = w_stride,
                          .w_is_kn = w_is_kn,
                          .y = y.data(),
                          .y_stride = y_stride,
                          .alpha = 0.5f});
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t t = 0; t < k; ++t) {
            const int64_t at = w_is_kn ? t * w_stride + j : j * w_stride + t;
            sum += 0.5 * x[i * x_stride + t] * w[at];
          }
          ASSERT_NEAR(y[i * y_stride + j], sum,
                      kPerTerm * static_cast<double>(k))
              << i << " " << j;
        }
        for (int64_t j = n; j < y_stride; ++j) {
          ASSERT_EQ(y[i * y_stride + j], 77);  // not ours
        }
      }
    }
  }
}

TEST(Gemm, AddsToWhatIsThereAndTakesTransposedMatrices) {
  ThreadPool pool(2);
  const int64_t m = 200, n = 390, k = 37;
  const auto x = Random(k * m, 3), w = Random(k * n, 4), y = Random(m * n, 5);
  std::vector<float> sum = y;
  ParallelGemm(pool, {.m = m,
                      .n = n,
                      .k = k,
                      .x = x.data(),
                      .x_stride = m,
                      .x_is_km = true,
                      .w = w.data(),
                      .w_stride = n,
                      .w_is_kn = true,
                      .y = sum.data(),
                      .y_stride = n,
                      .alpha = 2,
                      .beta = 1});
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double expected = y[i * n + j];
      for (int64_t t = 0; t < k; ++t) {
        expected += 2.0 * x[t * m + i] * w[t * n + j];
      }
      ASSERT_NEAR(sum[i * n + j], expected, 2 * kPerTerm * k);
    }
  }
}

TEST(Gemm, ThreadsDoNotShow) {
  const int64_t m = 500, n = 900, k = 130;
  const auto x = Random(m * k, 3);
  const auto w = Random(n * k, 4);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    std::vector<float> y(m * n);
    ParallelGemm(pool, {.m = m,
                        .n = n,
                        .k = k,
                        .x = x.data(),
                        .x_stride = k,
                        .w = w.data(),
                        .w_stride = k,
                        .y = y.data(),
                        .y_stride = n});
    results.push_back(y);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace
}  // namespace quant

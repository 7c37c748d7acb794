#include "core/kernels/udu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/core/tolerances.h"

namespace quant {
namespace {

// X^T X of correlated columns, with a diagonal raised by a hundredth of its
// mean: upper triangle only, the rest is not to be looked at.
std::vector<float> SomeHessian(int64_t n, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  const int64_t rows = n / 2 + 3;
  std::vector<double> x(rows * n);
  for (int64_t r = 0; r < rows; ++r) {
    double previous = 0;
    for (int64_t i = 0; i < n; ++i) {
      previous = 0.7 * previous + normal(random);
      x[r * n + i] = previous;
    }
  }
  std::vector<float> h(n * n, std::numeric_limits<float>::quiet_NaN());
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      double sum = 0;
      for (int64_t r = 0; r < rows; ++r) sum += x[r * n + i] * x[r * n + j];
      h[i * n + j] = static_cast<float>(sum);
    }
    mean += h[i * n + i] / static_cast<double>(n);
  }
  for (int64_t i = 0; i < n; ++i) {
    h[i * n + i] += static_cast<float>(0.01 * mean);
  }
  return h;
}

TEST(Udu, ItsFactorsGiveTheMatrixBack) {
  ThreadPool pool(2);
  for (int64_t n : {1, 2, 17, 127, 128, 129, 300, 515}) {
    const std::vector<float> h = SomeHessian(n, static_cast<int>(n));
    std::vector<float> f = h;
    ASSERT_TRUE(FactorUdu(pool, n, f.data())) << n;
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_GT(f[i * n + i], 0);
      for (int64_t j = i; j < n; ++j) {
        double sum = 0;
        for (int64_t k = j; k < n; ++k) {
          const double a = k == i ? 1.0 : f[i * n + k];
          const double b = k == j ? 1.0 : f[j * n + k];
          sum += a * f[k * n + k] * b;
        }
        ASSERT_NEAR(sum, h[i * n + j],
                    kFactorSlack * std::sqrt(h[i * n + i] * h[j * n + j]))
            << n << ": " << i << ", " << j;
      }
    }
  }
}

TEST(Udu, ThreadsDoNotShow) {
  const int64_t n = 700;
  std::vector<float> h = SomeHessian(n, 1);
  for (float& x : h) x = std::isnan(x) ? 0 : x;
  std::vector<float> one = h, three = h;
  ThreadPool single(1), pool(3);
  ASSERT_TRUE(FactorUdu(single, n, one.data()));
  ASSERT_TRUE(FactorUdu(pool, n, three.data()));
  EXPECT_EQ(std::memcmp(one.data(), three.data(), n * n * sizeof(float)), 0);
}

TEST(Udu, SaysWhenThereIsNoFactor) {
  ThreadPool pool(1);
  std::vector<float> h = SomeHessian(200, 2);
  h[5 * 200 + 5] = -1;
  EXPECT_FALSE(FactorUdu(pool, 200, h.data()));
  h = SomeHessian(200, 2);
  h[7 * 200 + 9] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(FactorUdu(pool, 200, h.data()));
  std::vector<float> zero(4);
  EXPECT_FALSE(FactorUdu(pool, 2, zero.data()));
}

}  // namespace
}  // namespace quant

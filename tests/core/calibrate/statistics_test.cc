#include "core/calibrate/statistics.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace quant {
namespace {

std::vector<float> Inputs(int64_t rows, int64_t columns) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * columns);
  for (float& v : x) v = normal(random);
  return x;
}

// x [tokens, columns]; sums in float32 may be off by `tolerance`.
void ExpectThoseOf(const std::vector<float>& x,
                   const InputStatistics& statistics, double tolerance) {
  const int64_t columns = statistics.columns();
  for (int64_t i = 0; i < columns; ++i) {
    float lo = 0, hi = 0;
    double squares = 0;
    for (int64_t r = 0; r < statistics.tokens(); ++r) {
      const float v = x[r * columns + i];
      lo = std::min(lo, v);
      hi = std::max(hi, v);
      squares += static_cast<double>(v) * v;
    }
    EXPECT_EQ(statistics.lo()[i], lo);
    EXPECT_EQ(statistics.hi()[i], hi);
    EXPECT_EQ(statistics.absmax(i), std::max(-lo, hi));
    EXPECT_DOUBLE_EQ(statistics.sum_squares()[i], squares);
    for (int64_t j = i; j < columns; ++j) {
      double sum = 0;
      for (int64_t r = 0; r < statistics.tokens(); ++r) {
        sum += 2.0 * x[r * columns + i] * x[r * columns + j];
      }
      ASSERT_NEAR(statistics.hessian()[i * columns + j], sum, tolerance)
          << i << ", " << j;
    }
  }
}

TEST(InputStatistics, AreThoseOfAllTokens) {
  ThreadPool pool(3);
  constexpr int64_t kRows = 90, kColumns = 450;
  const std::vector<float> x = Inputs(kRows, kColumns);
  InputStatistics statistics(kColumns, true);
  statistics.Add(pool, x.data(), 50);
  statistics.Add(pool, x.data(), 0);
  statistics.Add(pool, x.data() + 50 * kColumns, 40);
  EXPECT_EQ(statistics.tokens(), kRows);
  ExpectThoseOf(x, statistics, 1e-4);
}

// More tokens than are laid out at a time; panels that are whole, more than
// half and less than half of one.
TEST(InputStatistics, AreThoseOfAllTokensOfLongSequences) {
  ThreadPool pool(3);
  constexpr int64_t kRows = 1100;
  for (const int64_t columns : {100, 384, 640}) {
    const std::vector<float> x = Inputs(kRows, columns);
    InputStatistics statistics(columns, true);
    statistics.Add(pool, x.data(), kRows);
    EXPECT_EQ(statistics.tokens(), kRows);
    ExpectThoseOf(x, statistics, 2e-3);
  }
}

TEST(InputStatistics, ThreadsDoNotShow) {
  constexpr int64_t kRows = 64, kColumns = 800;
  const std::vector<float> x = Inputs(kRows, kColumns);
  InputStatistics one(kColumns, true), three(kColumns, true);
  ThreadPool single(1), pool(3);
  one.Add(single, x.data(), kRows);
  three.Add(pool, x.data(), kRows);
  EXPECT_EQ(std::memcmp(one.hessian().data(), three.hessian().data(),
                        kColumns * kColumns * sizeof(float)),
            0);
  EXPECT_EQ(one.sum_squares(), three.sum_squares());
}

TEST(InputStatistics, HaveNoHessianUnlessAsked) {
  ThreadPool pool(1);
  const std::vector<float> x = Inputs(3, 10);
  InputStatistics statistics(10, false);
  statistics.Add(pool, x.data(), 3);
  EXPECT_TRUE(statistics.hessian().empty());
  EXPECT_EQ(statistics.tokens(), 3);
}

}  // namespace
}  // namespace quant

#include "core/evaluate/distributions.h"

#include <gtest/gtest.h>

#include <cmath>

namespace quant {
namespace {

TEST(Distributions, ByHand) {
  const float p[] = {0, std::log(3.0f)};  // 1/4, 3/4
  const float q[] = {5, 5};               // 1/2, 1/2
  EXPECT_NEAR(LogSumExp(p, 2), std::log(4.0), 1e-7);
  EXPECT_NEAR(LogSumExp(q, 2), 5 + std::log(2.0), 1e-12);
  EXPECT_NEAR(KlDivergence(p, LogSumExp(p, 2), q, LogSumExp(q, 2), 2),
              0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-7);
  EXPECT_EQ(KlDivergence(p, LogSumExp(p, 2), p, LogSumExp(p, 2), 2), 0);
  EXPECT_EQ(ArgMax(p, 2), 1);
  EXPECT_EQ(ArgMax(q, 2), 0);
}

TEST(Distributions, LargeLogitsDoNotOverflow) {
  const float x[] = {3e38f, -3e38f, 0};
  EXPECT_EQ(LogSumExp(x, 3), static_cast<double>(3e38f));
}

TEST(Distributions, PercentilesAreValuesByNearestRank) {
  const std::vector<double> sorted = {1, 2, 3, 4};
  EXPECT_EQ(Percentile(sorted, 0.5), 2);
  EXPECT_EQ(Percentile(sorted, 0.51), 3);
  EXPECT_EQ(Percentile(sorted, 0.99), 4);
  EXPECT_EQ(Percentile(sorted, 0), 1);
}

}  // namespace
}  // namespace quant

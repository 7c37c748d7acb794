#include "core/kernels/column_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

class ColumnRangesTest : public TargetTest {};

TEST_P(ColumnRangesTest, AreThoseOfThePlainLoop) {
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  for (int n : {1, 7, 16, 33, 384}) {
    std::vector<float> lo(n), hi(n), lo_plain(n), hi_plain(n);
    std::vector<double> squares(n), squares_plain(n);
    for (int row = 0; row < 5; ++row) {
      std::vector<float> x(n);
      for (int i = 0; i < n; ++i) {
        x[i] = normal(random);
        lo_plain[i] = std::min(lo_plain[i], x[i]);
        hi_plain[i] = std::max(hi_plain[i], x[i]);
        squares_plain[i] += static_cast<double>(x[i]) * x[i];
      }
      AddColumnRanges(x.data(), n, lo.data(), hi.data(), squares.data());
    }
    EXPECT_EQ(lo, lo_plain) << n;
    EXPECT_EQ(hi, hi_plain) << n;
    EXPECT_EQ(squares, squares_plain) << n;
  }
}

TEST_P(ColumnRangesTest, NanMovesNoEnd) {
  const std::vector<float> x(20, std::numeric_limits<float>::quiet_NaN());
  std::vector<float> lo(20, -1), hi(20, 2);
  std::vector<double> squares(20);
  AddColumnRanges(x.data(), 20, lo.data(), hi.data(), squares.data());
  EXPECT_EQ(lo, std::vector<float>(20, -1));
  EXPECT_EQ(hi, std::vector<float>(20, 2));
}

QUANT_FOR_EACH_TARGET(ColumnRangesTest);

}  // namespace
}  // namespace quant

#include "core/kernels/error_sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

// The plain loop: element i in double, to virtual lane i % 16.
LaneSums Expected(const std::vector<float>& x, const std::vector<float>& back) {
  LaneSums sums;
  for (size_t i = 0; i < x.size(); ++i) {
    const float error = back[i] - x[i];
    const int lane = static_cast<int>(i % kVirtualLanes);
    sums.noise[lane] += static_cast<double>(error) * error;
    sums.signal[lane] += static_cast<double>(x[i]) * x[i];
    sums.max_abs_error = std::max(sums.max_abs_error, std::fabs(error));
  }
  return sums;
}

class ErrorSumsTest : public TargetTest {};

TEST_P(ErrorSumsTest, EqualsThePlainLoop) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int n : {0, 1, 15, 16, 17, 100, 256}) {
    std::vector<float> x(n), back(n);
    for (float& v : x) v = normal(random);
    for (int i = 0; i < n; ++i) back[i] = x[i] + 0.01f * normal(random);
    LaneSums sums;
    AddErrors(x.data(), back.data(), n, sums);
    EXPECT_TRUE(SameSums(sums, Expected(x, back))) << n;
  }
}

QUANT_FOR_EACH_TARGET(ErrorSumsTest);

}  // namespace
}  // namespace quant

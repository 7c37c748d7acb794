#include "core/kernels/value_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/kernels/lane_sums.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

class ValueWeightsTest : public TargetTest {};

TEST_P(ValueWeightsTest, EqualsThePlainLoop) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int n : {1, 15, 16, 17, 64, 250}) {
    std::vector<float> x(n), importance(n), weights(n);
    double lanes[kVirtualLanes] = {};
    for (int i = 0; i < n; ++i) {
      x[i] = normal(random);
      importance[i] = std::fabs(normal(random));
      lanes[i % kVirtualLanes] += static_cast<double>(x[i]) * x[i];
    }
    WeighValues(x.data(), importance.data(), n, weights.data());
    const auto root_mean =
        static_cast<float>(std::sqrt(CombineLanes(lanes) / n));
    for (int i = 0; i < n; ++i) {
      const float ratio = x[i] / root_mean;
      const float square = ratio * ratio;
      EXPECT_EQ(weights[i], importance[i] * std::sqrt(1 + square)) << i;
    }
  }
}

TEST_P(ValueWeightsTest, RowsOfZerosWeighWhatTheirInputsDo) {
  for (const float tiny : {0.0f, 1e-45f, 1e-40f}) {
    const std::vector<float> x(20, tiny), importance(20, 3);
    std::vector<float> weights(20, -1);
    WeighValues(x.data(), importance.data(), 20, weights.data());
    EXPECT_EQ(weights, importance) << tiny;
  }
}

TEST_P(ValueWeightsTest, TheLargestValuesDoNotOverflow) {
  std::vector<float> x(20, std::numeric_limits<float>::max()), weights(20);
  x[3] = 1;
  const std::vector<float> importance(20, 3);
  WeighValues(x.data(), importance.data(), 20, weights.data());
  for (int i = 0; i < 20; ++i) {
    EXPECT_NEAR(weights[i], i == 3 ? 3 : 3 * std::sqrt(1 + 20.0f / 19), 1e-5);
  }
}

QUANT_FOR_EACH_TARGET(ValueWeightsTest);

}  // namespace
}  // namespace quant

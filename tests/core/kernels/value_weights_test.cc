#include "core/kernels/value_weights.h"

#include <gtest/gtest.h>

#include <cmath>
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
    const float mean = static_cast<float>(CombineLanes(lanes) / n);
    for (int i = 0; i < n; ++i) {
      const float square = x[i] * x[i];
      EXPECT_EQ(weights[i], importance[i] * std::sqrt(mean + square)) << i;
    }
  }
}

TEST_P(ValueWeightsTest, RowsOfZerosWeighNothing) {
  const std::vector<float> x(20), importance(20, 3);
  std::vector<float> weights(20, -1);
  WeighValues(x.data(), importance.data(), 20, weights.data());
  EXPECT_EQ(weights, std::vector<float>(20));
}

QUANT_FOR_EACH_TARGET(ValueWeightsTest);

}  // namespace
}  // namespace quant

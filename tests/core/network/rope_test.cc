#include "core/network/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace quant {
namespace {

RopeSettings Config(RopeKind kind) {
  RopeSettings config;
  config.kind = kind;
  config.dims = 4;
  config.theta = 100;
  config.factor = 4;
  config.original_positions = 100;
  return config;
}

// Base frequencies are 1 and 1/10.
TEST(Rope, DefaultAndLinearByHand) {
  EXPECT_EQ(RopeFrequencies(Config(RopeKind::kDefault), 10)[1], 0.1);
  EXPECT_EQ(RopeFrequencies(Config(RopeKind::kLinear), 10)[0], 0.25);
}

TEST(Rope, DynamicBeginsBeyondTheOriginalContext) {
  const RopeSettings config = Config(RopeKind::kDynamic);
  EXPECT_EQ(RopeFrequencies(config, 100)[1], 0.1);
  // theta (4 * 2 - 3)^(4 / 2) = 2500.
  EXPECT_DOUBLE_EQ(RopeFrequencies(config, 200)[1], 1 / std::sqrt(2500));
}

TEST(Rope, Llama3SlowsLongWavesOnly) {
  RopeSettings config = Config(RopeKind::kLlama3);
  config.low_frequency_factor = 2;
  config.high_frequency_factor = 10;
  // Waves of 6.3 (below 100 / 10) and 62.8 (beyond 100 / 2).
  EXPECT_EQ(RopeFrequencies(config, 10)[0], 1);
  EXPECT_DOUBLE_EQ(RopeFrequencies(config, 10)[1], 0.025);
  config.low_frequency_factor = 1;
  const double smooth = (100 / (2 * M_PI / 0.1) - 1) / 9;
  EXPECT_NEAR(RopeFrequencies(config, 10)[1],
              (1 - smooth) * 0.025 + smooth * 0.1, 1e-15);
}

TEST(Rope, RotationKeepsLengthsAndRelativeAngles) {
  const RopeTable table = MakeRopeTable(Config(RopeKind::kDefault), 20);
  const auto dot = [&](int64_t a, int64_t b) {
    float q[] = {1, 2, 3, 4}, k[] = {-2, 1, 0.5f, 3};
    table.Rotate(a, q);
    table.Rotate(b, k);
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += q[i] * k[i];
    return sum;
  };
  EXPECT_NEAR(dot(3, 1), dot(19, 17), 1e-5);
  EXPECT_NEAR(dot(0, 0), -2 + 2 + 1.5f + 12, 1e-5);
  EXPECT_GT(std::fabs(dot(3, 1) - dot(5, 1)), 0.1);
}

}  // namespace
}  // namespace quant

#include "core/kernels/activations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

constexpr double kUlp = 1.2e-7;  // relative
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class ActivationsTest : public TargetTest {};

std::vector<float> Numbers(int n, float deviation) {
  std::mt19937 random(n);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

TEST_P(ActivationsTest, SoftmaxIsTheTrueOne) {
  for (int n : {1, 5, 16, 31, 2048}) {
    const std::vector<float> x = Numbers(n, 20);
    std::vector<float> p = x;
    Softmax(p.data(), n);
    const float most = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (float v : x) sum += std::exp(static_cast<double>(v - most));
    for (int i = 0; i < n; ++i) {
      const double expected = std::exp(static_cast<double>(x[i] - most)) / sum;
      ASSERT_NEAR(p[i], expected, 5 * kUlp * expected + 1e-37) << n << " " << i;
    }
  }
}

TEST_P(ActivationsTest, SoftmaxTakesMasksAndShowsNan) {
  std::vector<float> x(20, -kInfinity);
  x[3] = x[18] = 1e30f;
  Softmax(x.data(), 20);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(x[i], i == 3 || i == 18 ? 0.5f : 0);
  for (int at : {0, 17}) {
    std::vector<float> broken(20, 1);
    broken[at] = kNan;
    Softmax(broken.data(), 20);
    for (float v : broken) EXPECT_TRUE(std::isnan(v));
  }
}

TEST_P(ActivationsTest, SiluIsTheTrueOne) {
  for (int n : {1, 15, 16, 4099}) {
    const std::vector<float> gate = Numbers(n, 30), up = Numbers(n, 1);
    std::vector<float> out(n);
    SiluTimes(gate.data(), up.data(), n, out.data());
    for (int i = 0; i < n; ++i) {
      const double x = gate[i];
      const double expected = x / (1 + std::exp(-x)) * up[i];
      ASSERT_NEAR(out[i], expected, 5 * kUlp * std::fabs(expected) + 1e-35)
          << x;
    }
  }
}

TEST_P(ActivationsTest, SiluOfWhatIsNoNumber) {
  const std::vector<float> gate = {kNan, kInfinity, -1e30f, 0.0f}, up(4, 1);
  std::vector<float> out(4);
  SiluTimes(gate.data(), up.data(), 4, out.data());
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_EQ(out[1], kInfinity);
  EXPECT_NEAR(out[2], 0, 1e-7);
  EXPECT_EQ(out[3], 0);
}

// Codes that were calibrated depend on them.
TEST_P(ActivationsTest, EveryTargetFindsTheSameBits) {
  const std::vector<float> x = Numbers(1000, 10), up = Numbers(1001, 1);
  const auto both = [&] {
    std::vector<float> out(2000);
    std::copy(x.begin(), x.end(), out.begin());
    Softmax(out.data(), 1000);
    SiluTimes(x.data(), up.data(), 1000, out.data() + 1000);
    return out;
  };
  const std::vector<float> mine = both();
  ForceKernelTarget("");
  const std::vector<float> best = both();
  EXPECT_EQ(std::memcmp(mine.data(), best.data(), 8000), 0);
}

QUANT_FOR_EACH_TARGET(ActivationsTest);

}  // namespace
}  // namespace quant

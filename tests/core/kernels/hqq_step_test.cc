#include "core/kernels/hqq_step.h"

#include <cmath>
#include <random>
#include <vector>

#include "core/kernels/reference.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using HqqStepTest = TargetTest;

void ExpectLikeTwin(const HqqGroup& group, const float* x) {
  const HqqSums sums = HqqStep(group, x);
  const HqqSums twin = ReferenceHqqStep(group, x);
  EXPECT_EQ(std::memcmp(&sums, &twin, sizeof(sums)), 0)
      << "n " << group.n << " scale " << group.scale << " zero " << group.zero
      << ": " << sums.noise << " " << twin.noise << ", " << sums.ud << " "
      << twin.ud;
}

TEST_P(HqqStepTest, IsItsTwinBitForBit) {
  std::mt19937 random(5);
  std::student_t_distribution<float> heavy(2.0f);
  std::uniform_real_distribution<float> scale(0.05f, 4.0f);
  for (int bits = 2; bits <= 8; ++bits) {
    const int half = 1 << (bits - 1);
    for (int64_t n : {1, 5, 15, 16, 17, 31, 64, 100, 128, 1000}) {
      std::vector<float> x(n + 1);
      for (float& v : x) v = heavy(random);
      for (float inverse_beta : {0.0f, 0.05f, 0.5f, 1.0f}) {
        const HqqGroup group{
            .n = n,
            .scale = scale(random),
            .zero = static_cast<int>(random() % (2 * half)) - half,
            .q_min = -half,
            .q_max = half - 1,
            .inverse_beta = inverse_beta};
        ExpectLikeTwin(group, x.data());
        ExpectLikeTwin(group, x.data() + 1);  // not aligned
      }
    }
  }
}

TEST_P(HqqStepTest, SurvivesExtremes) {
  const std::vector<float> x = {3e38f, -3e38f, 1e-45f, -0.0f, 0.0f, 1e-38f};
  for (float scale : {1e-38f, 1.0f, 1e38f}) {
    ExpectLikeTwin({.n = 6, .scale = scale, .q_min = -8, .q_max = 7}, x.data());
  }
}

TEST_P(HqqStepTest, ByHand) {
  // Codes 1, -2 (clamped) and 0; the miss of 0.25 is rounding, that of -3 an
  // outlier, of which 3 - 3^(-1/4) is taken away.
  const std::vector<float> x = {2.5f, -10.0f, 0.0f};
  const HqqSums sums =
      HqqStep({.n = 3, .scale = 2, .q_min = -2, .q_max = 1, .inverse_beta = 1},
              x.data());
  const double kept = 3 - std::pow(3, -0.25);
  EXPECT_DOUBLE_EQ(sums.noise, 0.25 + 36);
  EXPECT_EQ(sums.d, 1 - 2);
  EXPECT_EQ(sums.dd, 1 + 4);
  EXPECT_NEAR(sums.u, 1.25 + (-5 + kept), 1e-6);
  EXPECT_NEAR(sums.ud, 1.25 - 2 * (-5 + kept), 1e-6);
}

QUANT_FOR_EACH_TARGET(HqqStepTest);

}  // namespace
}  // namespace quant

#include "core/kernels/error_sums.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "core/kernels/reference.h"
#include "tests/core/kernels/target_test.h"
#include "tests/core/tolerances.h"

namespace quant {
namespace {

struct Pair {
  std::vector<float> x;
  std::vector<float> back;
};

Pair Decoded(int n, float size, float error) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Pair pair{std::vector<float>(n), std::vector<float>(n)};
  for (float& v : pair.x) v = size * normal(random);
  for (int i = 0; i < n; ++i) {
    pair.back[i] = pair.x[i] + error * normal(random);
  }
  return pair;
}

LaneSums SumsOf(const Pair& pair) {
  LaneSums sums;
  AddErrors(pair.x.data(), pair.back.data(),
            static_cast<int64_t>(pair.x.size()), sums);
  return sums;
}

class ErrorSumsTest : public TargetTest {};

TEST_P(ErrorSumsTest, EqualsItsTwin) {
  for (int n : {0, 1, 15, 16, 17, 100, 255, 256, 257, 271, 272, 512, 600}) {
    for (float size : {0.0f, 0x1p-140f, 0x1p-60f, 1.0f, 0x1p60f, 0x1p120f}) {
      const Pair pair = Decoded(n, size, 0.01f * size);
      LaneSums twin;
      ReferenceAddErrors(pair.x.data(), pair.back.data(), n, twin);
      EXPECT_TRUE(SameSums(SumsOf(pair), twin)) << n << " " << size;
    }
  }
}

// The sums in double, lane after lane. Weights of any size, and errors that are
// small beside them, none at all, or of one element only.
TEST_P(ErrorSumsTest, AreRightToTheirBound) {
  for (float size : {0x1p-140f, 0x1p-70f, 0x1p-50f, 1.0f, 0x1p60f, 0x1p120f}) {
    for (float error : {0.3f, 1e-6f, 0.0f}) {
      Pair pair = Decoded(1000, size, error * size);
      pair.back[500] += size;
      double noise = 0, signal = 0;
      for (size_t i = 0; i < pair.x.size(); ++i) {
        const double e = pair.back[i] - pair.x[i];
        noise += e * e;
        signal += static_cast<double>(pair.x[i]) * pair.x[i];
      }
      const LaneSums sums = SumsOf(pair);
      EXPECT_NEAR(CombineLanes(sums.noise), noise, noise * kSumRelative)
          << size << " " << error;
      EXPECT_NEAR(CombineLanes(sums.signal), signal, signal * kSumRelative)
          << size << " " << error;
    }
  }
}

QUANT_FOR_EACH_TARGET(ErrorSumsTest);

}  // namespace
}  // namespace quant

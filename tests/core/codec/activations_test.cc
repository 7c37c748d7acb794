// What loaders do to inputs, on values that can be checked by hand.
#include "core/codec/activations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/codec/codec.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

using ::testing::ElementsAre;

std::vector<float> Rounded(InputRounding rounding, std::vector<float> x) {
  RoundInputs(rounding, x.data(), static_cast<int64_t>(x.size()));
  return x;
}

TEST(RoundInputs, LeavesOthersAlone) {
  EXPECT_THAT(Rounded({}, {0.1f, -3}), ElementsAre(0.1f, -3));
}

TEST(RoundInputs, Int8PerToken) {
  // Steps of 1: the largest magnitude is half of 255 steps.
  EXPECT_THAT(Rounded({.kind = Activations::kInt8TokenDynamic},
                      {127.5f, -127.5f, 0.4f, 0.5f, 1.5f, -2.6f}),
              ElementsAre(127, -128, 0, 0, 2, -3));
}

TEST(RoundInputs, Int8StaticClamps) {
  EXPECT_THAT(Rounded({.kind = Activations::kInt8TensorStatic, .scale = 0.5f},
                      {0.3f, 100, -100, 0}),
              ElementsAre(0.5f, 63.5f, -64, 0));
}

TEST(RoundInputs, Fp8PerTokenAndStatic) {
  EXPECT_THAT(
      Rounded({.kind = Activations::kFp8TokenDynamic}, {448, -448, 17, 1, 0}),
      ElementsAre(448, -448, 16, 1, 0));
  EXPECT_THAT(Rounded({.kind = Activations::kFp8TensorStatic, .scale = 2},
                      {2000, -34, 2}),
              ElementsAre(896, -32, 2));
}

TEST(RoundInputs, Fp8GroupsHaveScalesOfTheirOwn) {
  std::vector<float> x(200, 1.0f / 1024);
  x[3] = 448;  // dwarfs its group
  x[130] = 1;
  x = Rounded({.kind = Activations::kFp8Group128Dynamic}, x);
  EXPECT_EQ(x[3], 448);
  EXPECT_EQ(x[0], 0);
  EXPECT_EQ(x[130], 1);
  EXPECT_NEAR(x[150], 1.0f / 1024, 1e-4);
}

TEST(RoundInputs, ZerosStayZeros) {
  for (Activations kind :
       {Activations::kInt8TokenDynamic, Activations::kFp8TokenDynamic,
        Activations::kFp8Group128Dynamic}) {
    EXPECT_THAT(Rounded({.kind = kind}, {0, 0}), ElementsAre(0, 0));
  }
}

TEST(RoundInputs, ErrorsAreAtMostHalfAStep) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(500);
  float most = 0;
  for (float& v : x) most = std::max(most, std::fabs(v = normal(random)));
  const auto y = Rounded({.kind = Activations::kInt8TokenDynamic}, x);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_LE(std::fabs(y[i] - x[i]), most / 127.5f * 0.5001f) << x[i];
  }
}

TEST(StaticInputScale, CoversWhatWasSeen) {
  for (Activations kind :
       {Activations::kInt8TensorStatic, Activations::kFp8TensorStatic}) {
    const float largest = IsInt8(kind) ? 127.5f : 448.0f;
    for (float absmax : {1e-30f, 0.1f, 3.3f, 777.7f}) {
      for (DType stored : {DType::kF32, DType::kBF16, DType::kF16}) {
        const float scale = StaticInputScale(kind, absmax, stored);
        EXPECT_GE(scale * largest, absmax * 0.999999f) << absmax;
        EXPECT_EQ(scale, RoundScaleUp(scale, stored));
      }
    }
    EXPECT_EQ(StaticInputScale(kind, 0, DType::kBF16), 1);
  }
}

}  // namespace
}  // namespace quant

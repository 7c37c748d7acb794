#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/method/input_scales.h"
#include "core/method/method.h"

namespace quant {
namespace {

// Two weights of two rows each, over three columns.
std::vector<float> Factors(double smoothing, std::vector<float> absmax,
                           std::vector<int32_t> ties = {0, 1, 2}) {
  const std::vector<float> a = {1, -2, 0, 0.5, 1, 0};
  const std::vector<float> b = {-4, 1, 0, 0, 0, 0};
  ThreadPool pool(1);
  const WeightView weights[] = {{.x = a.data(), .rows = 2},
                                {.x = b.data(), .rows = 2}};
  return (*FindMethod("smoothquant"))
      ->InputScales(pool, {.smoothing = smoothing},
                    {.hessian = {.n = 3},
                     .absmax = absmax,
                     .ties = ties,
                     .weights = weights});
}

// Largest magnitudes of the weights: 4, 2, 0.
TEST(SmoothQuant, MovesRangesFromInputsToWeights) {
  const auto half = Factors(0.5, {16, 2, 1});
  // sqrt(16 / 4) = 2 and sqrt(2 / 2) = 1, about their middle.
  EXPECT_FLOAT_EQ(half[0], std::sqrt(2.0f));
  EXPECT_FLOAT_EQ(half[1], std::sqrt(0.5f));
  EXPECT_EQ(half[2], 1);  // nothing reads it
  const auto whole = Factors(1, {16, 4, 1});
  EXPECT_FLOAT_EQ(whole[0] / whole[1], 4);
}

TEST(SmoothQuant, InputsThatWereAlwaysZeroStay) {
  const auto factors = Factors(0.5, {16, 0, 1});
  EXPECT_EQ(factors[1], 1);
}

TEST(SmoothQuant, TiedColumnsCountAsTheirLargest) {
  const auto factors = Factors(0.5, {16, 2, 1}, {0, 1, 1});
  EXPECT_EQ(factors[1], factors[2]);
  EXPECT_FLOAT_EQ(factors[0] / factors[1], 2);
}

TEST(SmoothQuant, IsForActivationsThatAreRounded) {
  const QuantMethod& method = **FindMethod("smoothquant");
  EXPECT_TRUE(method.Check(*FindScheme("W8A8")).ok());
  EXPECT_TRUE(method.Check(*FindScheme("W8A8_STATIC")).ok());
  const absl::Status status = method.Check(*FindScheme("W4A16"));
  EXPECT_NE(status.message().find("nearest is W8A8"), std::string::npos)
      << status;
}

TEST(Options, ThatAMethodDoesNotTakeAreAnsweredWithThoseThatDo) {
  EXPECT_TRUE(CheckTakesOption("gptq", "act_order").ok());
  EXPECT_TRUE(CheckTakesOption("smoothquant", "smoothing").ok());
  const absl::Status status = CheckTakesOption("awq", "smoothing");
  EXPECT_EQ(GetField(status), "calibrated.smoothing");
  EXPECT_NE(status.message().find("use \"smoothquant\""), std::string::npos)
      << status;
}

TEST(InputScales, TiedValuesBecomeTheirLargest) {
  std::vector<double> values = {1, 2, 5};
  MaximaOfTied({0, 1, 0}, values);
  EXPECT_EQ(values, std::vector<double>({5, 2, 5}));
}

}  // namespace
}  // namespace quant

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/base/error.h"
#include "core/kernels/targets.h"
#include "core/method/method.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 24, kCols = 200;

Scheme IntScheme(int bits, bool symmetric, int64_t group) {
  Scheme scheme = *FindScheme("W4A16");
  scheme.bits = bits;
  scheme.symmetric = symmetric;
  scheme.group_size = group;
  return scheme;
}

struct Result {
  CodeTile tile;
  ErrorSums sums;
};

Result Quantized(const char* name, const Scheme& scheme,
                 const std::vector<float>& x,
                 const MethodOptions& options = {}) {
  Result result;
  MethodScratch scratch;
  result.sums = (*FindMethod(name))
                    ->Quantize(**MakeCodec(scheme), options, {}, x.data(),
                               kRows, kCols, result.tile, scratch);
  return result;
}

std::vector<float> HeavyWeights() {
  std::mt19937 random(17);
  std::student_t_distribution<float> heavy(3.0f);
  std::vector<float> x(kRows * kCols);
  for (float& v : x) v = 0.02f * heavy(random);
  return x;
}

// Squared error of each row, from the decoded codes.
std::vector<double> RowNoise(const Scheme& scheme, const Result& result,
                             const std::vector<float>& x) {
  const auto codec = *MakeCodec(scheme);
  std::vector<double> noise(kRows);
  std::vector<float> back(kCols);
  for (int64_t r = 0; r < kRows; ++r) {
    codec->DecodeRow(result.tile.codes.data() + r * kCols, kCols,
                     codec->ScalesOfRow(result.tile, r, false), back.data());
    for (int64_t c = 0; c < kCols; ++c) {
      noise[r] += std::pow(static_cast<double>(back[c]) - x[r * kCols + c], 2);
    }
  }
  return noise;
}

TEST(Hqq, NoGroupIsWorseThanMinmax) {
  const std::vector<float> x = HeavyWeights();
  for (int bits = 2; bits <= 8; ++bits) {
    for (bool symmetric : {true, false}) {
      // One group per row.
      const Scheme scheme = IntScheme(bits, symmetric, kCols);
      const auto hqq = RowNoise(scheme, Quantized("hqq", scheme, x), x);
      const auto rtn = RowNoise(scheme, Quantized("rtn", scheme, x), x);
      for (int64_t r = 0; r < kRows; ++r) {
        EXPECT_LE(hqq[r], rtn[r] * (1 + 1e-12)) << bits << " row " << r;
      }
    }
  }
}

TEST(Hqq, FindsWeightsThatLieOnAGrid) {
  // Levels -4..3 with one outlier per row that would stretch the range.
  std::mt19937 random(1);
  std::vector<float> x(kRows * kCols);
  for (float& v : x) v = static_cast<float>(static_cast<int>(random() % 8) - 4);
  for (int64_t r = 0; r < kRows; ++r) x[r * kCols + 7] = 6;
  for (bool symmetric : {true, false}) {
    const Scheme scheme = IntScheme(3, symmetric, kCols);
    const Result hqq = Quantized("hqq", scheme, x);
    const Result rtn = Quantized("rtn", scheme, x);
    EXPECT_LT(hqq.sums.noise, 0.8 * rtn.sums.noise) << symmetric;
  }
}

TEST(Hqq, IsTheSameOnEveryTarget) {
  const std::vector<float> x = HeavyWeights();
  for (bool symmetric : {true, false}) {
    for (DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
      const Scheme scheme = IntScheme(3, symmetric, 48);
      const MethodOptions options{.scale_type = type};
      const Result best = Quantized("hqq", scheme, x, options);
      for (const std::string& target : KernelTargets()) {
        ForceKernelTarget(target);
        const Result other = Quantized("hqq", scheme, x, options);
        ForceKernelTarget("");
        EXPECT_EQ(other.tile.codes, best.tile.codes) << target;
        EXPECT_EQ(other.tile.scales, best.tile.scales) << target;
        EXPECT_EQ(other.tile.zeros, best.tile.zeros) << target;
        EXPECT_EQ(other.sums.noise, best.sums.noise) << target;
      }
    }
  }
}

TEST(Hqq, ALongerSearchIsNoWorse) {
  const std::vector<float> x = HeavyWeights();
  const Scheme scheme = IntScheme(3, false, 64);
  const double fast =
      Quantized("hqq", scheme, x, {.search = SearchLevel::kFast}).sums.noise;
  EXPECT_LT(Quantized("hqq", scheme, x).sums.noise, fast);
  EXPECT_LT(fast, Quantized("rtn", scheme, x).sums.noise);
}

TEST(Hqq, SurvivesExtremeWeights) {
  for (float value : {3.4e38f, 1e-45f, 1e-38f}) {
    std::vector<float> x(kRows * kCols, value);
    x[3] = -value;
    for (bool symmetric : {true, false}) {
      const Result result = Quantized("hqq", IntScheme(4, symmetric, 50), x);
      for (float scale : result.tile.scales) {
        EXPECT_GT(scale, 0) << value;
        EXPECT_TRUE(std::isfinite(scale)) << value;
      }
      EXPECT_TRUE(std::isfinite(result.sums.noise)) << value;
    }
  }
}

TEST(Hqq, RefusesWhatItCannotFit) {
  Scheme per_tensor = IntScheme(4, true, 128);
  per_tensor.granularity = Granularity::kTensor;
  const QuantMethod& method = **FindMethod("hqq");
  EXPECT_THAT(method.Check(per_tensor).message(), HasSubstr("channel"));
  const absl::Status fp8 = method.Check(*FindScheme("FP8_DYNAMIC"));
  EXPECT_THAT(fp8.message(), HasSubstr("W8A16"));
  EXPECT_EQ(GetReason(fp8), Reason::kUnsupported);
}

}  // namespace
}  // namespace quant

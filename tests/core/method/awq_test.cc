#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/method/input_scales.h"
#include "core/method/method.h"
#include "tests/core/method/problem.h"
#include "tests/core/tolerances.h"

namespace quant {
namespace {

Scheme Int(int bits, bool symmetric, int64_t group) {
  Scheme scheme = *FindScheme("W4A16");
  scheme.bits = bits;
  scheme.symmetric = symmetric;
  scheme.granularity = group > 0 ? Granularity::kGroup : Granularity::kChannel;
  scheme.group_size = group;
  return scheme;
}

const QuantMethod& Awq() { return **FindMethod("awq"); }

std::vector<int32_t> Untied(int64_t n) {
  std::vector<int32_t> ties(n);
  std::iota(ties.begin(), ties.end(), 0);
  return ties;
}

std::vector<float> Factors(const Problem& p, const Scheme& scheme,
                           const std::vector<int32_t>& ties, int threads = 2) {
  ThreadPool pool(threads);
  const auto codec = *MakeCodec(scheme);
  const MethodOptions options;
  const WeightView weight{.codec = codec.get(),
                          .options = &options,
                          .x = p.w.data(),
                          .rows = p.rows};
  return Awq().InputScales(pool, {},
                           {.hessian = {.n = p.n, .values = p.h.data()},
                            .absmax = {},
                            .ties = ties,
                            .weights = absl::MakeConstSpan(&weight, 1)});
}

// What weights stand for after they were quantized with these factors.
std::vector<float> Back(const Problem& p, const Scheme& scheme,
                        const std::vector<float>& factors,
                        const Preparation* preparation) {
  const auto codec = *MakeCodec(scheme);
  MethodOptions options;
  options.preparation = preparation;
  std::vector<float> x = p.w;
  for (int64_t i = 0; i < p.rows * p.n; ++i) x[i] *= factors[i % p.n];
  CodeTile tile;
  MethodScratch scratch;
  Awq().Quantize(*codec, options, {}, x.data(), p.rows, p.n, tile, scratch);
  std::vector<float> back(p.rows * p.n);
  for (int64_t r = 0; r < p.rows; ++r) {
    codec->DecodeTileRow(tile, r, back.data() + r * p.n);
    for (int64_t i = 0; i < p.n; ++i) back[r * p.n + i] /= factors[i];
  }
  return back;
}

std::unique_ptr<Preparation> Prepare(const Problem& p,
                                     const std::vector<float>& factors) {
  std::vector<float> h = p.h;
  for (int64_t i = 0; i < p.n * p.n; ++i) {
    h[i] /= factors[i / p.n] * factors[i % p.n];
  }
  ThreadPool pool(1);
  return Awq().Prepare(pool, {}, {.n = p.n, .values = h.data()});
}

TEST(Awq, OutputsErrLessWithEachOfItsSteps) {
  const Problem p(40, 300, 1);  // blocks of 128, 128 and 44; a short group
  const std::vector<float> ones(p.n, 1.0f);
  for (int bits : {3, 4}) {
    for (bool symmetric : {true, false}) {
      for (int64_t group : {0, 64, 100, 128}) {
        SCOPED_TRACE(std::to_string(bits) + " bits, group " +
                     std::to_string(group) + (symmetric ? "" : ", asymmetric"));
        const Scheme scheme = Int(bits, symmetric, group);
        const double nearest = p.Error(Back(p, scheme, ones, nullptr));
        const double clipped =
            p.Error(Back(p, scheme, ones, Prepare(p, ones).get()));
        const auto factors = Factors(p, scheme, Untied(p.n));
        const double scaled =
            p.Error(Back(p, scheme, factors, Prepare(p, factors).get()));
        EXPECT_LT(clipped, nearest);
        EXPECT_LT(scaled, clipped);
        EXPECT_LT(scaled, 0.8 * nearest);
      }
    }
  }
}

// Every 17th input is larger.
TEST(Awq, LargerInputsGetLargerFactors) {
  const Problem p(40, 128, 2);
  const auto factors = Factors(p, Int(3, true, 64), Untied(p.n));
  EXPECT_GT(factors[3], factors[4]);
  EXPECT_GT(factors[20], factors[21]);
  const auto [least, most] =
      std::minmax_element(factors.begin(), factors.end());
  EXPECT_NEAR(*least * *most, 1, 1e-5);
}

TEST(Awq, ThreadsDoNotShow) {
  const Problem p(700, 96, 3);  // more rows than are looked at
  const Scheme scheme = Int(4, true, 32);
  EXPECT_EQ(Factors(p, scheme, Untied(p.n), 1),
            Factors(p, scheme, Untied(p.n), 3));
}

TEST(Awq, TiedColumnsShareAFactor) {
  const Problem p(20, 64, 4);
  std::vector<int32_t> ties(64);
  for (int i = 0; i < 64; ++i) ties[i] = i % 32;
  const auto factors = Factors(p, Int(3, true, 32), ties);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(factors[i], factors[i + 32]);
  EXPECT_NE(factors[3], factors[4]);
}

TEST(Awq, ColumnsWithoutInputKeepTheirSize) {
  Problem p(20, 64, 5);
  for (int64_t i = 0; i < 64; ++i) p.h[9 * 64 + i] = p.h[i * 64 + 9] = 0;
  const auto factors = Factors(p, Int(3, true, 32), Untied(p.n));
  EXPECT_EQ(factors[9], 1);
  EXPECT_NE(factors[8], 1);
  EXPECT_EQ(Prepare(p, factors)->dead_columns, 1);
}

TEST(Awq, HessiansThatAreNoneChangeNothing) {
  Problem p(8, 64, 6);
  const Scheme scheme = Int(4, false, 32);
  const std::vector<float> ones(p.n, 1.0f);
  const auto nearest = Back(p, scheme, ones, nullptr);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (float bad : {0.0f, nan, inf}) {
    std::fill(p.h.begin(), p.h.end(), bad);
    EXPECT_EQ(Factors(p, scheme, Untied(p.n)), ones) << bad;
    EXPECT_EQ(Back(p, scheme, ones, Prepare(p, ones).get()), nearest) << bad;
  }
}

TEST(InputScales, AreCentered) {
  EXPECT_EQ(CenteredFactors({1, 4, 16}), std::vector<float>({0.25, 1, 4}));
  EXPECT_EQ(CenteredFactors({0, 4}), std::vector<float>({1, 1}));
  EXPECT_EQ(CenteredFactors({0, 0}), std::vector<float>({1, 1}));
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(CenteredFactors({1, inf}), std::vector<float>({1, 1}));
}

TEST(InputScales, TiedValuesBecomeTheirMean) {
  std::vector<double> values = {1, 2, 5};
  MeansOfTied({0, 1, 0}, values);
  EXPECT_EQ(values, std::vector<double>({3, 2, 3}));
}

}  // namespace
}  // namespace quant

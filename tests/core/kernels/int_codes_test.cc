#include "core/kernels/int_codes.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/kernels/reference.h"
#include "core/tensor/float_formats.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using IntCodesTest = TargetTest;

// Scales and zero points of a row of `n`.
struct Grid {
  std::vector<float> scales;
  std::vector<int8_t> zeros;
};

float Narrowed(float value, bool narrow) {
  return narrow ? Bf16ToF32(F32ToBf16(value)) : value;
}

Grid RandomGrid(int64_t groups, int bits, bool narrow, std::mt19937& random) {
  Grid grid;
  std::uniform_real_distribution<float> scale(0.01f, 3.0f);
  for (int64_t g = 0; g < groups; ++g) {
    grid.scales.push_back(Narrowed(scale(random), narrow));
    const int half = 1 << (bits - 1);
    grid.zeros.push_back(
        static_cast<int8_t>(static_cast<int>(random() % (2 * half)) - half));
  }
  return grid;
}

IntRow RowOf(int64_t n, int64_t group, int bits, const Grid& grid,
             bool symmetric, bool narrow) {
  return {.n = n,
          .group = group,
          .scales = grid.scales.data(),
          .zero_points = symmetric ? nullptr : grid.zeros.data(),
          .q_min = -(1 << (bits - 1)),
          .q_max = (1 << (bits - 1)) - 1,
          .narrow = narrow};
}

// Codes, sums and decoded values equal the twin's, and nothing else is touched.
void ExpectLikeTwin(const IntRow& row, const float* x, int shift) {
  std::vector<int8_t> codes(row.n + shift + 1, 99), twin(row.n);
  LaneSums sums, twin_sums;
  sums.noise[3] = twin_sums.noise[3] = 0.25;  // rows add to what is there
  sums.max_abs_error = twin_sums.max_abs_error = 1e-3f;
  EncodeIntRow(row, x, codes.data() + shift, sums);
  ReferenceEncodeIntRow(row, x, twin.data(), twin_sums);
  for (int64_t i = 0; i < row.n; ++i) {
    ASSERT_EQ(codes[i + shift], twin[i])
        << "x " << x[i] << " scale " << row.scales[i / row.group] << " n "
        << row.n << " group " << row.group << " at " << i << " narrow "
        << row.narrow;
  }
  ASSERT_EQ(codes[row.n + shift], 99) << "wrote past the end";
  ASSERT_TRUE(SameSums(sums, twin_sums)) << row.n << " " << row.group;
  std::vector<float> out(row.n + 1, 42), twin_out(row.n);
  DecodeIntRow(row, codes.data() + shift, out.data());
  ReferenceDecodeIntRow(row, twin.data(), twin_out.data());
  for (int64_t i = 0; i < row.n; ++i) ASSERT_EQ(out[i], twin_out[i]) << i;
  ASSERT_EQ(out[row.n], 42);
}

TEST_P(IntCodesTest, EqualsItsTwinAtEveryLength) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 8);
  for (bool narrow : {false, true}) {
    for (int64_t n = 0; n <= 4 * kVirtualLanes + 1; ++n) {
      for (int64_t group : {1, 5, 16, 24, 64, 100}) {
        const int bits = 2 + static_cast<int>(random() % 7);
        const Grid grid = RandomGrid(n / group + 1, bits, narrow, random);
        std::vector<float> x(n + 1);
        for (float& v : x) v = Narrowed(normal(random), narrow);
        for (bool symmetric : {false, true}) {
          ExpectLikeTwin(RowOf(n, group, bits, grid, symmetric, narrow),
                         x.data() + (n > 0 ? n % 2 : 0), n % 3);
        }
      }
    }
  }
}

// Runs of sums (lane_sums.h) that end within a group, and that hold several.
TEST_P(IntCodesTest, EqualsItsTwinAcrossRuns) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 8);
  for (int64_t n : {256, 257, 600}) {
    for (int64_t group : {16, 96, 100, 128, 256, 300}) {
      const Grid grid = RandomGrid(n / group + 1, 4, true, random);
      std::vector<float> x(n);
      for (float& v : x) v = Narrowed(normal(random), true);
      ExpectLikeTwin(RowOf(n, group, 4, grid, true, true), x.data(), 0);
    }
  }
}

// Every quotient of two BF16 significands, at exponents from far below a step
// to far beyond the range: among them are all exact ties.
TEST_P(IntCodesTest, NarrowRowsRoundEveryRatioExactly) {
  std::vector<float> x;
  for (int exponent : {-9, -8, -1, 0, 1, 3, 6, 7, 8, 12}) {
    for (int significand = 128; significand < 256; ++significand) {
      x.push_back(std::ldexp(static_cast<float>(significand), exponent - 7));
      x.push_back(-x.back());
    }
  }
  const int64_t n = static_cast<int64_t>(x.size());
  for (int significand = 128; significand < 256; ++significand) {
    const float scale = std::ldexp(static_cast<float>(significand), -7);
    const Grid grid{{scale}, {0}};
    IntRow row = RowOf(n, n, 8, grid, true, true);
    ASSERT_NO_FATAL_FAILURE(ExpectLikeTwin(row, x.data(), 0)) << scale;
    // The twin itself against arithmetic in double, where these quotients are
    // far from any false tie.
    std::vector<int8_t> codes(n);
    LaneSums sums;
    EncodeIntRow(row, x.data(), codes.data(), sums);
    for (int64_t i = 0; i < n; ++i) {
      const double exact = std::nearbyint(static_cast<double>(x[i]) / scale);
      ASSERT_EQ(codes[i], std::min(127.0, std::max(-128.0, exact)))
          << x[i] << " / " << scale;
    }
  }
}

// F16 has 11 bits: a random sample of ratios, all exact ties included.
TEST_P(IntCodesTest, NarrowRowsRoundF16RatiosExactly) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    const int s = 1024 + static_cast<int>(random() % 1024);
    const float scale = std::ldexp(static_cast<float>(s), -12);
    std::vector<float> x;
    for (int k = 0; k < 255; ++k) {
      // The two 11-bit numbers around (k + 1/2) s, and the tie where it is one.
      const double tie = (k + 0.5) * scale;
      const float near = F16ToF32(F32ToF16(static_cast<float>(tie)));
      const uint16_t code = F32ToF16(near);
      for (int d : {-1, 0, 1}) {
        x.push_back(F16ToF32(static_cast<uint16_t>(code + d)));
        x.push_back(-x.back());
      }
    }
    const int64_t n = static_cast<int64_t>(x.size());
    const Grid grid{{scale}, {-128}};
    ASSERT_NO_FATAL_FAILURE(
        ExpectLikeTwin(RowOf(n, n, 8, grid, false, true), x.data(), 0));
  }
}

TEST_P(IntCodesTest, ExtremesAreClampedNotWrapped) {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kDenorm = std::numeric_limits<float>::denorm_min();
  const std::vector<float> x = {kMax,    -kMax, kDenorm, -kDenorm, 0.0f,
                                -0.0f,   1e30f, -1e30f,  1e-38f,   -1e-38f,
                                1024.0f, 1e9f,  -1e9f,   0.5f,     -0.5f};
  const int64_t n = static_cast<int64_t>(x.size());
  for (float scale : {1.0f, 1e-38f, kDenorm, 1e35f, 1e-31f}) {
    for (int8_t zero : {int8_t{0}, int8_t{7}, int8_t{-8}}) {
      const Grid grid{{scale}, {zero}};
      ASSERT_NO_FATAL_FAILURE(
          ExpectLikeTwin(RowOf(n, n, 4, grid, false, false), x.data(), 0));
    }
  }
}

// Narrow rows, as far beyond the range as clipping ever goes and much further.
TEST_P(IntCodesTest, NarrowRowsClampFarValues) {
  std::vector<float> x;
  for (float v : {256.0f, 640.0f, 767.0f, 768.0f, 1024.0f, 65536.0f, 1e6f}) {
    x.push_back(Narrowed(v, true));
    x.push_back(-x.back());
  }
  const int64_t n = static_cast<int64_t>(x.size());
  for (int8_t zero : {int8_t{0}, int8_t{127}, int8_t{-128}}) {
    const Grid grid{{1.0f}, {zero}};
    ASSERT_NO_FATAL_FAILURE(
        ExpectLikeTwin(RowOf(n, n, 8, grid, false, true), x.data(), 0));
  }
}

TEST_P(IntCodesTest, NarrowRowsTakeTinyScales) {
  for (float scale : {0x1p-133f, 0x1p-126f, 0x1p-100f, 0x1p-24f}) {
    std::vector<float> x;
    for (int k = -20; k <= 20; ++k) x.push_back(static_cast<float>(k) * scale);
    const int64_t n = static_cast<int64_t>(x.size());
    const Grid grid{{scale}, {3}};
    ASSERT_NO_FATAL_FAILURE(
        ExpectLikeTwin(RowOf(n, n, 4, grid, false, true), x.data(), 0));
  }
}

QUANT_FOR_EACH_TARGET(IntCodesTest);

TEST(LaneSums, AreCombinedPairwise) {
  double lanes[kVirtualLanes];
  for (int i = 0; i < kVirtualLanes; ++i) lanes[i] = std::ldexp(1.0, i);
  EXPECT_EQ(CombineLanes(lanes), 65535.0);
  // (1e16 + 1) is lost unless the two large lanes meet first: 0 meets 8.
  double order[kVirtualLanes] = {};
  order[0] = 1e16;
  order[8] = -1e16;
  order[1] = 1;
  EXPECT_EQ(CombineLanes(order), 1.0);
}

}  // namespace
}  // namespace quant

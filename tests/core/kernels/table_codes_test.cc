#include "core/kernels/table_codes.h"

#include <cmath>
#include <random>
#include <vector>

#include "core/kernels/reference.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using TableCodesTest = TargetTest;

constexpr TableKind kKinds[] = {TableKind::kE2M1, TableKind::kNF4,
                                TableKind::kBnbFp4};

void ExpectLikeTwin(const TableRow& row, const float* x) {
  std::vector<uint8_t> codes(row.n + 1, 99), twin(row.n);
  LaneSums sums, twin_sums;
  EncodeTableRow(row, x, codes.data(), sums);
  ReferenceEncodeTableRow(row, x, twin.data(), twin_sums);
  for (int64_t i = 0; i < row.n; ++i) {
    ASSERT_EQ(codes[i], twin[i])
        << "x " << x[i] << " scale " << row.scales[i / row.group];
  }
  ASSERT_EQ(codes[row.n], 99) << "wrote past the end";
  ASSERT_TRUE(SameSums(sums, twin_sums)) << row.n << " " << row.group;
  std::vector<float> out(row.n);
  DecodeTableRow(row, codes.data(), out.data());
  for (int64_t i = 0; i < row.n; ++i) {
    ASSERT_EQ(out[i],
              TableOf(row.kind).values[twin[i]] * row.scales[i / row.group]);
  }
}

// Every number, every midpoint of two, the floats beside both, and beyond.
std::vector<float> NumbersAndMidpoints(TableKind kind) {
  std::vector<float> values = {0.0f, -0.0f, 1e30f, -1e30f, 1e-45f, -1e-45f};
  const auto add = [&](float v) {
    for (float near : {v, std::nextafter(v, -1e9f), std::nextafter(v, 1e9f)}) {
      values.push_back(near);
    }
  };
  for (float a : TableOf(kind).values) {
    add(a);
    for (float b : TableOf(kind).values) add((a + b) / 2);
  }
  return values;
}

TEST_P(TableCodesTest, EqualsItsTwinAtEveryNumberAndMidpoint) {
  for (TableKind kind : kKinds) {
    const std::vector<float> x = NumbersAndMidpoints(kind);
    const int64_t n = static_cast<int64_t>(x.size());
    for (float scale : {1.0f, 0.5f, 3.0f, 0.0123f, 1e-38f, 1e-42f, 1e30f}) {
      ASSERT_NO_FATAL_FAILURE(ExpectLikeTwin(
          {.n = n, .group = n, .scales = &scale, .kind = kind}, x.data()))
          << scale;
    }
  }
}

TEST_P(TableCodesTest, EqualsItsTwinAtEveryLength) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 3);
  for (int64_t n = 0; n <= 4 * kVirtualLanes + 1; ++n) {
    for (int64_t group : {1, 7, 16, 40, 100}) {
      std::vector<float> x(n + 1), scales(n / group + 1);
      for (float& v : x) v = normal(random);
      for (float& s : scales) s = std::fabs(normal(random)) + 0.01f;
      for (TableKind kind : kKinds) {
        ASSERT_NO_FATAL_FAILURE(ExpectLikeTwin(
            {.n = n, .group = group, .scales = scales.data(), .kind = kind},
            x.data() + (n > 0 ? n % 2 : 0)));
      }
    }
  }
}

QUANT_FOR_EACH_TARGET(TableCodesTest);

std::vector<int> CodesOf(TableKind kind, const std::vector<float>& x) {
  const float one = 1;
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<uint8_t> codes(n);
  LaneSums sums;
  EncodeTableRow({.n = n, .group = n, .scales = &one, .kind = kind}, x.data(),
                 codes.data(), sums);
  return {codes.begin(), codes.end()};
}

// OCP: ties to the even code; -0.1 keeps its sign.
TEST(TableCodes, RoundsE2m1AsSpecified) {
  EXPECT_EQ(
      CodesOf(TableKind::kE2M1,
              {0.25f, 0.26f, 0.74f, 0.75f, 1.25f, 1.26f, 1.75f, 2.5f, 2.51f,
               3.5f, 5, 5.1f, 6, 99, -0.1f, -0.5f, 1}),
      (std::vector<int>{0, 1, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 7, 7, 8, 9, 2}));
}

// bitsandbytes' thresholds, from four to five digits of its sources.
TEST(TableCodes, RoundsNf4AtItsThresholds) {
  const std::vector<float> thresholds = {
      -0.84810f, -0.61063f, -0.45999f, -0.33968f, -0.23461f,
      -0.13791f, -0.04553f, 0.03979f,  0.12026f,  0.20352f,
      0.29201f,  0.38931f,  0.50166f,  0.64279f,  0.86148f};
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(CodesOf(TableKind::kNF4,
                      {thresholds[i] - 2e-5f, thresholds[i] + 2e-5f}),
              (std::vector<int>{i, i + 1}));
  }
}

// Codes 0..7 are 0, 1/192, 8, 12, 4, 6, 2, 3 twelfths.
TEST(TableCodes, OrdersFp4AsBitsandbytes) {
  EXPECT_EQ(CodesOf(TableKind::kBnbFp4, {0, 0.0052f, 0.6667f, 1, 0.3333f, 0.5f,
                                         0.1667f, 0.25f, -1, -0.3333f}),
            (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 11, 12}));
}

}  // namespace
}  // namespace quant

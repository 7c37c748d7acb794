// What every codec promises that keeps scales inside its blocks, on rows that
// are made to hurt. How good the scales are is for the tests of the kernels.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "core/codec/codec.h"
#include "tests/conformance/presets.h"
#include "tests/core/tolerances.h"

namespace quant {
namespace {

constexpr int64_t kCols = 512;
// Values far below the smallest half-precision scale, 2^-24, may be off by half
// a step of it; the widest steps are 16 codes.
constexpr double kLeastStep = 8 * 0x1p-24;

struct Row {
  const char* name;
  std::vector<float> values;
};

std::vector<Row> HardRows() {
  std::mt19937 random(23);
  std::normal_distribution<float> normal;
  const auto filled = [&](auto make) {
    std::vector<float> values(kCols);
    for (int64_t i = 0; i < kCols; ++i) values[i] = make(i, normal(random));
    return values;
  };
  constexpr float kMax = std::numeric_limits<float>::max();
  return {
      {"zeros", filled([](int64_t, float) { return 0.0f; })},
      {"normal", filled([](int64_t, float v) { return 0.02f * v; })},
      {"constant", filled([](int64_t, float) { return -0.3f; })},
      {"positive", filled([](int64_t, float v) { return 5 + std::fabs(v); })},
      {"outlier",
       filled([](int64_t i, float v) { return i == 3 ? 900.0f : v; })},
      {"tiny", filled([](int64_t, float v) { return v * 1e-7f; })},
      {"denormal", filled([](int64_t, float v) { return v * 1e-40f; })},
      {"huge", filled([=](int64_t i, float) { return i % 2 ? -kMax : kMax; })},
  };
}

class BlockCodecConformance : public ::testing::TestWithParam<Scheme> {
 protected:
  void SetUp() override {
    auto codec = MakeCodec(GetParam());
    ASSERT_TRUE(codec.ok()) << codec.status();
    codec_ = *std::move(codec);
  }

  std::vector<uint8_t> Encode(const float* x, int64_t cols,
                              const RowScales& scales, LaneSums& sums) const {
    std::vector<uint8_t> codes(codec_->row_bytes(cols), 0xA5);
    codec_->EncodeRow(x, cols, scales, codes.data(), sums);
    return codes;
  }

  std::vector<float> Decode(const std::vector<uint8_t>& codes) const {
    std::vector<float> out(kCols);
    codec_->DecodeRow(codes.data(), kCols, {}, out.data());
    return out;
  }

  std::unique_ptr<Codec> codec_;
};

TEST_P(BlockCodecConformance, SizesAreThoseOfTheType) {
  const GgmlTypeInfo& info = InfoOf(GetParam().ggml);
  EXPECT_EQ(codec_->row_bytes(kCols),
            kCols / info.block_elems * info.block_bytes);
  EXPECT_EQ(codec_->grid_rows(7), 0);
  EXPECT_EQ(codec_->grid_cols(kCols), 0);
  EXPECT_TRUE(codec_->chooses_scales());
}

TEST_P(BlockCodecConformance, DecodesToFiniteValuesNoWorseThanZeros) {
  for (const Row& row : HardRows()) {
    LaneSums sums;
    const std::vector<float> back =
        Decode(Encode(row.values.data(), kCols, {}, sums));
    double noise = 0, signal = 0;
    for (int64_t i = 0; i < kCols; ++i) {
      ASSERT_TRUE(std::isfinite(back[i])) << row.name << " " << i;
      const float error = back[i] - row.values[i];
      noise += std::pow(double{error}, 2);
      signal += std::pow(double{row.values[i]}, 2);
    }
    EXPECT_LE(noise, signal + kCols * kLeastStep * kLeastStep) << row.name;
    EXPECT_NEAR(CombineLanes(sums.noise), noise, kSumRelative * noise)
        << row.name;
    EXPECT_NEAR(CombineLanes(sums.signal), signal, kSumRelative * signal)
        << row.name;
  }
}

// Any cut at a multiple of the block gives the same bytes, weights or not.
TEST_P(BlockCodecConformance, BlocksAreIndependent) {
  const int64_t block = InfoOf(GetParam().ggml).block_elems;
  std::vector<float> importance(kCols);
  for (int64_t i = 0; i < kCols; ++i) importance[i] = 0.1f + i % 7;
  for (const Row& row : HardRows()) {
    for (SearchLevel search : {SearchLevel::kDefault, SearchLevel::kFast}) {
      LaneSums sums;
      const auto whole =
          Encode(row.values.data(), kCols,
                 {.weights = importance.data(), .search = search}, sums);
      std::vector<uint8_t> parts;
      for (int64_t at = 0; at < kCols; at += block) {
        const auto part =
            Encode(row.values.data() + at, block,
                   {.weights = importance.data() + at, .search = search}, sums);
        parts.insert(parts.end(), part.begin(), part.end());
      }
      EXPECT_EQ(parts, whole) << row.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, BlockCodecConformance,
                         ::testing::ValuesIn(BlockSchemes()),
                         [](const auto& info) {
                           return SchemeTestName(info.param);
                         });

}  // namespace
}  // namespace quant

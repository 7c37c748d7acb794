// rtn on numbers that can be followed by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/method/method.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Coded {
  std::vector<int> codes;
  std::vector<float> scales;
  std::vector<int> zeros;
  ErrorSums sums;
};

Coded Code(Scheme scheme, const std::vector<float>& x, int64_t rows,
           ScaleRule rule = ScaleRule::kMinmax) {
  const auto codec = *MakeCodec(scheme);
  const QuantMethod& method = **FindMethod("rtn");
  MethodScratch scratch;
  CodeTile tile;
  Coded out;
  out.sums =
      method.Quantize(*codec, {.scale = rule}, {}, x.data(), rows,
                      static_cast<int64_t>(x.size()) / rows, tile, scratch);
  for (uint8_t code : tile.codes) {
    out.codes.push_back(static_cast<int8_t>(code));
  }
  out.scales = tile.scales;
  for (int8_t zero : tile.zeros) out.zeros.push_back(zero);
  return out;
}

Scheme Channel(const char* name) {
  Scheme scheme = *FindScheme(name);
  scheme.granularity = Granularity::kChannel;
  scheme.group_size = 0;
  return scheme;
}

TEST(Rtn, SymmetricByHand) {
  const Coded out = Code(Channel("W4A16"), {7.5f, -7.5f, 1.2f, -0.6f, 0.5f}, 1);
  EXPECT_THAT(out.scales, ElementsAre(1.0f));
  // 7.5 is clamped to 7, -7.5 goes to even -8, 0.5 to even 0.
  EXPECT_THAT(out.codes, ElementsAre(7, -8, 1, -1, 0));
  EXPECT_NEAR(out.sums.noise, 0.25 + 0.25 + 0.04 + 0.16 + 0.25, 1e-6);
  EXPECT_EQ(out.sums.max_abs_error, 0.5f);
}

TEST(Rtn, AsymmetricByHand) {
  const Coded out = Code(Channel("W4A16_ASYM"), {-5, 10, 0, 2.4f}, 1);
  EXPECT_THAT(out.scales, ElementsAre(1.0f));
  EXPECT_THAT(out.zeros, ElementsAre(-3));
  EXPECT_THAT(out.codes, ElementsAre(-8, 7, -3, -1));
}

TEST(Rtn, GroupsAndTheShortLastOneHaveTheirOwnScales) {
  Scheme scheme = *FindScheme("W4A16");
  scheme.group_size = 2;
  const Coded out = Code(scheme, {7.5f, 0, 15, 0, 75}, 1);
  EXPECT_THAT(out.scales, ElementsAre(1.0f, 2.0f, 10.0f));
  EXPECT_THAT(out.codes, ElementsAre(7, 0, 7, 0, 7));
}

TEST(Rtn, BlocksShareOverRows) {
  Scheme scheme = *FindScheme("FP8_BLOCK");
  scheme.block_rows = scheme.block_cols = 2;
  const Coded out = Code(scheme,
                         {448, 1, 896,  //
                          2, -4, 0,     //
                          0, 0, 1344},
                         3);
  EXPECT_THAT(out.scales, ElementsAre(1.0f, 2.0f, 1.0f, 3.0f));
  EXPECT_EQ(out.sums.noise, 0);
}

TEST(Rtn, RatiosInDecibel) {
  ErrorSums sums{.noise = 1, .signal = 100};
  EXPECT_NEAR(sums.sqnr_db(), 20, 1e-12);
  sums.noise = 0;
  EXPECT_EQ(sums.sqnr_db(), std::numeric_limits<double>::infinity());
}

TEST(Methods, UnknownNamesGetTheNearest) {
  const auto unknown = FindMethod("rnt");
  EXPECT_EQ(GetReason(unknown.status()), Reason::kUnknownName);
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("\"rtn\""));
}

// What large models are made of must not silently lose its fast path.
TEST(Rtn, HasAShorterWayForIntegersOfHalves) {
  const uint16_t x[256] = {};
  const auto* bytes = reinterpret_cast<const uint8_t*>(x);
  for (const char* name : {"W4A16", "W4A16_ASYM", "W8A16", "W8A8"}) {
    const auto codec = *MakeCodec(*FindScheme(name));
    MethodScratch scratch;
    CodeTile tile;
    for (DType type : {DType::kBF16, DType::kF16}) {
      EXPECT_TRUE((*FindMethod("rtn"))
                      ->QuantizeSource(*codec,
                                       {.scale_type = type, .narrow = true},
                                       type, bytes, 1, 256, tile, scratch))
          << name;
    }
  }
}

}  // namespace
}  // namespace quant

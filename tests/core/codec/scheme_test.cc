#include "core/codec/scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/base/error.h"
#include "core/codec/codec.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

TEST(Presets, HaveThePublicNamesAndParameters) {
  std::set<std::string> names;
  for (const Preset& preset : Presets()) {
    EXPECT_TRUE(names.insert(preset.scheme.name).second);
    EXPECT_FALSE(preset.description.empty());
  }
  for (const char* name :
       {"W8A16", "W4A16", "W4A16_ASYM", "W2A16", "W3A16", "W5A16", "W6A16",
        "W7A16", "W8A8", "FP8_DYNAMIC", "FP8_BLOCK", "F16", "BF16", "F32"}) {
    EXPECT_TRUE(FindScheme(name).ok()) << name;
  }
  const Scheme w4 = *FindScheme("W4A16");
  EXPECT_EQ(w4.bits, 4);
  EXPECT_TRUE(w4.symmetric);
  EXPECT_EQ(w4.granularity, Granularity::kGroup);
  EXPECT_EQ(w4.group_size, 128);
  const Scheme block = *FindScheme("FP8_BLOCK");
  EXPECT_EQ(block.block_rows, 128);
  EXPECT_EQ(block.block_cols, 128);
  EXPECT_EQ(block.activations, Activations::kFp8Group128Dynamic);
  EXPECT_EQ(FindScheme("W8A8")->granularity, Granularity::kChannel);
  EXPECT_FALSE(FindScheme("W4A16_ASYM")->symmetric);
}

TEST(Presets, UnknownNamesGetTheNearest) {
  const auto unknown = FindScheme("W4A61");
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetReason(unknown.status()), Reason::kUnknownName);
  EXPECT_THAT(std::string(unknown.status().message()),
              HasSubstr("did you mean \"W4A16\""));
}

TEST(Presets, StaticActivationsSayWhatTheyAre) {
  for (const char* name : {"FP8", "W8A8_STATIC"}) {
    EXPECT_TRUE(IsStatic(FindScheme(name)->activations)) << name;
  }
  EXPECT_TRUE(IsInt8(FindScheme("W8A8_STATIC")->activations));
  EXPECT_FALSE(IsInt8(FindScheme("FP8")->activations));
  EXPECT_FALSE(IsStatic(FindScheme("W8A8")->activations));
}

TEST(Schemes, AreDescribed) {
  EXPECT_EQ(DescribeScheme(*FindScheme("W4A16")), "int4 sym group 128");
  EXPECT_EQ(DescribeScheme(*FindScheme("W4A16_ASYM")), "int4 asym group 128");
  EXPECT_EQ(DescribeScheme(*FindScheme("FP8_BLOCK")), "fp8 e4m3 block 128x128");
  EXPECT_EQ(DescribeScheme(*FindScheme("BF16")), "bfloat16");
}

TEST(MakeCodec, RefusesParametersThatCannotBe) {
  Scheme scheme = *FindScheme("W4A16");
  for (int bits : {-1, 0, 1, 9, 1000}) {
    scheme.bits = bits;
    EXPECT_EQ(MakeCodec(scheme).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bits;
  }
  scheme = *FindScheme("W4A16");
  for (int64_t group : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
    scheme.group_size = group;
    EXPECT_FALSE(MakeCodec(scheme).ok()) << group;
  }
  scheme = *FindScheme("FP8_DYNAMIC");
  scheme.symmetric = false;
  EXPECT_FALSE(MakeCodec(scheme).ok());
}

// Worked by hand: max|x| = 7.5 at 4 bits is scale 1; 127.5 at 8 bits as well.
TEST(FromRange, TextbookScales) {
  const auto scale = [](const char* name, float lo, float hi, DType type) {
    return (*MakeCodec(*FindScheme(name)))->FromRange(lo, hi, type);
  };
  EXPECT_EQ(scale("W4A16", -3, 7.5f, DType::kF32).scale, 1.0f);
  EXPECT_EQ(scale("W8A16", -127.5f, 0, DType::kF32).scale, 1.0f);
  EXPECT_EQ(scale("FP8_DYNAMIC", -448, 3, DType::kF32).scale, 1.0f);
  EXPECT_EQ(scale("FP8_E5M2", -1, 57344, DType::kF32).scale, 1.0f);
  const ScaleZero asymmetric = scale("W4A16_ASYM", -5.0f, 10.0f, DType::kF32);
  EXPECT_EQ(asymmetric.scale, 1.0f);
  EXPECT_EQ(asymmetric.zero, -3);  // -8 + 5
  // The range is stretched to hold 0.
  EXPECT_EQ(scale("W4A16_ASYM", 15.0f, 30.0f, DType::kF32).scale, 2.0f);
  EXPECT_EQ(scale("W4A16_ASYM", 15.0f, 30.0f, DType::kF32).zero, -8);
  EXPECT_EQ(scale("W4A16_ASYM", -30.0f, -15.0f, DType::kF32).zero, 7);
  // 1 / 7.5 is no BF16 value: rounded up, never down.
  const float stored = scale("W4A16", -1, 1, DType::kBF16).scale;
  EXPECT_GE(stored, 1 / 7.5f);
  EXPECT_LE(stored, 1 / 7.5f * (1 + 1 / 128.0f));
}

}  // namespace
}  // namespace quant

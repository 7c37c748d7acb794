#include "core/tensor/dtype.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace quant {
namespace {

// The table of the safetensors format, in the reference's order.
const std::vector<std::pair<const char*, int>> kTable = {
    {"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6},
    {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
    {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
    {"I64", 64},    {"U64", 64}};

TEST(DTypeTest, NamesBitsAndOrderAreThoseOfTheFormat) {
  for (size_t i = 0; i < kTable.size(); ++i) {
    const auto dtype = ParseDType(kTable[i].first);
    ASSERT_TRUE(dtype.has_value()) << kTable[i].first;
    EXPECT_EQ(static_cast<size_t>(*dtype), i);
    EXPECT_EQ(DTypeName(*dtype), kTable[i].first);
    EXPECT_EQ(DTypeBits(*dtype), kTable[i].second) << kTable[i].first;
  }
  EXPECT_EQ(static_cast<size_t>(DType::kU64) + 1, kTable.size());
}

TEST(DTypeTest, OtherSpellingsAreUnknown) {
  for (const char* name : {"", "f32", "F32 ", "float32", "F128", "F8"}) {
    EXPECT_FALSE(ParseDType(name).has_value()) << name;
  }
}

TEST(DTypeTest, WeightsAreTheUsualFloats) {
  int floats = 0;
  for (const auto& [name, bits] : kTable) {
    floats += IsWeightFloat(*ParseDType(name)) ? 1 : 0;
  }
  EXPECT_EQ(floats, 4);
  EXPECT_TRUE(IsWeightFloat(DType::kBF16));
  EXPECT_FALSE(IsWeightFloat(DType::kF8E4M3));
  EXPECT_FALSE(IsWeightFloat(DType::kI32));
}

}  // namespace
}  // namespace quant

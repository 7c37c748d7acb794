#include "core/tensor/dtype_info.h"

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "core/tensor/float_formats.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

enum Type { kFp32, kBf16, kFp16, kE4m3, kE5m2, kInt8, kInt4 };

DtypeLoss LossOf(float value, Type type) {
  std::vector<DtypeLoss> losses(NumberTypes().size());
  CountLosses({value}, absl::MakeSpan(losses));
  return losses[type];
}

TEST(NumberTypesTest, AreTheSevenOfTheTable) {
  std::vector<absl::string_view> names;
  for (const NumberTypeInfo& type : NumberTypes()) names.push_back(type.name);
  EXPECT_EQ(names,
            (std::vector<absl::string_view>{"FP32", "BF16", "FP16", "FP8_E4M3",
                                            "FP8_E5M2", "INT8", "INT4"}));
}

TEST(NumberTypesTest, AgreeWithTheLimitsOfTheLanguage) {
  using Limits = std::numeric_limits<float>;
  const NumberTypeInfo& fp32 = NumberTypes()[kFp32];
  EXPECT_EQ(fp32.max, Limits::max());
  EXPECT_EQ(fp32.min_normal, Limits::min());
  EXPECT_EQ(fp32.min_positive, Limits::denorm_min());
  EXPECT_EQ(fp32.decimal_digits, Limits::digits10);
  EXPECT_EQ(fp32.spacing_at_one, Limits::epsilon());
}

TEST(NumberTypesTest, AgreeWithTheCodes) {
  struct Row {
    Type type;
    uint32_t largest, normal, one;
    std::function<float(uint32_t)> decode;
  };
  const Row rows[] = {
      {kBf16, 0x7F7F, 0x0080, 0x3F80,
       [](uint32_t c) { return Bf16ToF32(static_cast<uint16_t>(c)); }},
      {kFp16, 0x7BFF, 0x0400, 0x3C00,
       [](uint32_t c) { return F16ToF32(static_cast<uint16_t>(c)); }},
      {kE4m3, 0x7E, 0x08, 0x38,
       [](uint32_t c) { return E4m3ToF32(static_cast<uint8_t>(c)); }},
      {kE5m2, 0x7B, 0x04, 0x3C,
       [](uint32_t c) { return E5m2ToF32(static_cast<uint8_t>(c)); }},
  };
  for (const Row& row : rows) {
    const NumberTypeInfo& type = NumberTypes()[row.type];
    EXPECT_EQ(type.max, row.decode(row.largest)) << type.name;
    EXPECT_EQ(type.min_normal, row.decode(row.normal)) << type.name;
    EXPECT_EQ(type.min_positive, row.decode(1)) << type.name;
    EXPECT_EQ(type.spacing_at_one, row.decode(row.one + 1) - 1) << type.name;
  }
}

struct Edge {
  Type type;
  float value;
  bool overflow;
  bool underflow;
};

// The last value that survives and the first that does not, by hand.
const Edge kEdges[] = {
    {kFp32, std::numeric_limits<float>::max(), false, false},
    {kFp32, std::numeric_limits<float>::denorm_min(), false, false},
    {kBf16, 0x1.fefffep127f, false, false},
    {kBf16, 0x1.ffp127f, true, false},
    {kBf16, 0x1p-134f, false, true},
    {kBf16, 0x1.0002p-134f, false, false},
    {kFp16, 65519.996f, false, false},
    {kFp16, 65520.0f, true, false},
    {kFp16, 0x1p-25f, false, true},
    {kFp16, 0x1.000002p-25f, false, false},
    {kE4m3, 464.0f, false, false},
    {kE4m3, 464.00003f, true, false},
    {kE4m3, 0x1p-10f, false, true},
    {kE4m3, 0x1.000002p-10f, false, false},
    {kE5m2, 61439.996f, false, false},
    {kE5m2, 61440.0f, true, false},
    {kE5m2, 0x1p-17f, false, true},
    {kE5m2, 0x1.000002p-17f, false, false},
    {kInt8, 127.49999f, false, false},
    {kInt8, 127.5f, true, false},
    {kInt8, 0.5f, false, true},
    {kInt8, 0.50000006f, false, false},
    {kInt4, 7.4999995f, false, false},
    {kInt4, 7.5f, true, false},
    {kInt4, 0.5f, false, true},
};

TEST(CountLossesTest, KnowsTheEdges) {
  for (const Edge& edge : kEdges) {
    for (float sign : {1.0f, -1.0f}) {
      const DtypeLoss loss = LossOf(sign * edge.value, edge.type);
      EXPECT_EQ(loss.overflow, edge.overflow ? 1 : 0)
          << NumberTypes()[edge.type].name << " " << edge.value;
      EXPECT_EQ(loss.underflow, edge.underflow ? 1 : 0)
          << NumberTypes()[edge.type].name << " " << edge.value;
    }
  }
}

TEST(CountLossesTest, ZeroIsNoLoss) {
  for (Type type : {kFp32, kBf16, kFp16, kE4m3, kE5m2, kInt8, kInt4}) {
    for (float zero : {0.0f, -0.0f}) {
      EXPECT_EQ(LossOf(zero, type).overflow, 0);
      EXPECT_EQ(LossOf(zero, type).underflow, 0);
    }
  }
}

// Random bits over the whole range and over several blocks, against the
// conversions themselves.
TEST(CountLossesTest, AgreesWithTheConversions) {
  std::mt19937 random(11);
  std::vector<float> values;
  while (values.size() < 20'001) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isfinite(value)) values.push_back(value);
  }
  std::vector<DtypeLoss> expected(NumberTypes().size());
  for (float v : values) {
    expected[kBf16].overflow += std::isinf(Bf16ToF32(F32ToBf16(v))) ? 1 : 0;
    expected[kBf16].underflow += Bf16ToF32(F32ToBf16(v)) == 0 ? 1 : 0;
    expected[kFp16].overflow += std::isinf(F16ToF32(F32ToF16(v))) ? 1 : 0;
    expected[kFp16].underflow += F16ToF32(F32ToF16(v)) == 0 ? 1 : 0;
    expected[kE4m3].underflow += E4m3ToF32(F32ToE4m3(v)) == 0 ? 1 : 0;
    expected[kE5m2].underflow += E5m2ToF32(F32ToE5m2(v)) == 0 ? 1 : 0;
    expected[kInt8].overflow += std::abs(std::nearbyint(v)) > 127 ? 1 : 0;
    expected[kInt8].underflow += std::nearbyint(v) == 0 ? 1 : 0;
    expected[kInt4].overflow += std::abs(std::nearbyint(v)) > 7 ? 1 : 0;
    expected[kInt4].underflow += std::nearbyint(v) == 0 ? 1 : 0;
  }
  // Adds to what is there.
  std::vector<DtypeLoss> losses(NumberTypes().size(), {100, 200});
  CountLosses(values, absl::MakeSpan(losses));
  for (Type type : {kFp32, kBf16, kFp16, kInt8, kInt4}) {
    EXPECT_EQ(losses[type].overflow, expected[type].overflow + 100) << type;
  }
  for (Type type : {kFp32, kBf16, kFp16, kE4m3, kE5m2, kInt8, kInt4}) {
    EXPECT_EQ(losses[type].underflow, expected[type].underflow + 200) << type;
  }
}

}  // namespace
}  // namespace quant

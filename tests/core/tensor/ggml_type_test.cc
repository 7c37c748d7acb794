#include "core/tensor/ggml_type.h"

#include "gtest/gtest.h"

namespace quant {
namespace {

TEST(GgmlTypeTest, BytesAreThoseOfWholeBlocks) {
  EXPECT_EQ(GgmlTensorBytes(GgmlType::kF32, {}), 4);
  EXPECT_EQ(GgmlTensorBytes(GgmlType::kBF16, {3, 5}), 30);
  EXPECT_EQ(GgmlTensorBytes(GgmlType::kQ4_0, {3, 64}), 3 * 2 * 18);
  EXPECT_EQ(GgmlTensorBytes(GgmlType::kQ4_K, {2, 3, 256}), 6 * 144);
  EXPECT_EQ(GgmlTensorBytes(GgmlType::kQ4_0, {3, 0}), 0);
  EXPECT_FALSE(GgmlTensorBytes(GgmlType::kQ4_0, {3, 33}));
  EXPECT_FALSE(GgmlTensorBytes(GgmlType::kQ4_0, {2, 16}));
  EXPECT_FALSE(GgmlTensorBytes(GgmlType::kQ4_0, {}));
  EXPECT_FALSE(GgmlTensorBytes(GgmlType::kF16, {INT64_MAX}));
  EXPECT_FALSE(GgmlTensorBytes(GgmlType::kF16, {-1}));
  // Values and bytes fit 63 bits; values times bytes per block do not.
  EXPECT_EQ(GgmlTensorBytes(GgmlType::kQ4_0, {int64_t{1} << 62}),
            (int64_t{1} << 57) * 18);
}

TEST(GgmlTypeTest, ElementTypesAreThoseOfSafetensors) {
  EXPECT_EQ(DTypeOf(GgmlType::kBF16), DType::kBF16);
  EXPECT_EQ(DTypeOf(GgmlType::kI64), DType::kI64);
  EXPECT_FALSE(DTypeOf(GgmlType::kQ8_0));
  EXPECT_EQ(GgmlTypeOf(DType::kF16), GgmlType::kF16);
  EXPECT_FALSE(GgmlTypeOf(DType::kU8));
  for (const GgmlTypeInfo& info : GgmlTypes()) {
    EXPECT_EQ(DTypeOf(info.type).has_value(), !info.quantized()) << info.name;
    if (const auto dtype = DTypeOf(info.type)) {
      EXPECT_EQ(GgmlTypeOf(*dtype), info.type);
      EXPECT_EQ(DTypeBits(*dtype), 8 * info.block_bytes);
    }
  }
}

}  // namespace
}  // namespace quant

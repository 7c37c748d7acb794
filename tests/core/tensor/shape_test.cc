#include "core/tensor/shape.h"

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace quant {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(ShapeTest, CountsElements) {
  EXPECT_EQ(NumElements({}), 1);
  EXPECT_EQ(NumElements({7}), 7);
  EXPECT_EQ(NumElements({4096, 11008}), 45'088'768);
  EXPECT_EQ(NumElements({3, 0, 5}), 0);
  EXPECT_EQ(NumElements({kMax}), kMax);
}

TEST(ShapeTest, RefusesNegativeAndOverflowing) {
  EXPECT_EQ(NumElements({-1}), std::nullopt);
  EXPECT_EQ(NumElements({-1, -1}), std::nullopt);
  EXPECT_EQ(NumElements({0, -1}), std::nullopt);
  EXPECT_EQ(NumElements({int64_t{1} << 32, int64_t{1} << 31}), std::nullopt);
  // 2^32 * 2^32 wraps to 0 in 64 bits.
  EXPECT_EQ(NumElements({int64_t{1} << 32, int64_t{1} << 32}), std::nullopt);
  // A zero does not hide it.
  EXPECT_EQ(NumElements({int64_t{1} << 32, int64_t{1} << 32, 0}), std::nullopt);
}

TEST(ShapeTest, CountsBytes) {
  EXPECT_EQ(TensorBytes(DType::kF32, {2, 3}), 24);
  EXPECT_EQ(TensorBytes(DType::kBF16, {}), 2);
  EXPECT_EQ(TensorBytes(DType::kF4, {2, 3}), 3);
  EXPECT_EQ(TensorBytes(DType::kF6E2M3, {4}), 3);
  EXPECT_EQ(TensorBytes(DType::kI64, {0}), 0);
}

TEST(ShapeTest, RefusesPartBytesAndBitsThatOverflow) {
  EXPECT_EQ(TensorBytes(DType::kF4, {3}), std::nullopt);
  EXPECT_EQ(TensorBytes(DType::kF6E3M2, {5}), std::nullopt);
  EXPECT_EQ(TensorBytes(DType::kU8, {int64_t{1} << 60}), std::nullopt);
  EXPECT_EQ(TensorBytes(DType::kU64, {kMax}), std::nullopt);
}

TEST(ShapeTest, PrintsAsPeopleWriteIt) {
  EXPECT_EQ(ShapeToString({}), "[]");
  EXPECT_EQ(ShapeToString({4096, 11008}), "[4096, 11008]");
}

}  // namespace
}  // namespace quant

// Differences of models against sums that are written out here.
#include "core/pipeline/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CompareTest : public ::testing::Test {
 protected:
  absl::StatusOr<ModelDifference> Compare(const std::string& a,
                                          const std::string& b,
                                          int threads = 2) {
    auto left = ValueModel::Open(dir_ / a);
    if (!left.ok()) return left.status();
    auto right = ValueModel::Open(dir_ / b);
    if (!right.ok()) return right.status();
    ThreadPool pool(threads);
    return CompareModels(*left, *right, pool);
  }

  TempDir dir_;
};

TEST_F(CompareTest, EqualModelsDoNotDiffer) {
  WriteModel(dir_ / "a", LlamaTensors(64, 128));
  WriteModel(dir_ / "b", LlamaTensors(64, 128), 3);
  const auto found = Compare("a", "b");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->tensors.size(), LlamaTensors(64, 128).size());
  EXPECT_EQ(found->values.different, 0);
  EXPECT_EQ(found->values.noise, 0);
  EXPECT_EQ(found->values.sqnr_db(), std::numeric_limits<double>::infinity());
}

TEST_F(CompareTest, SumsAreThoseOfTheValues) {
  const std::vector<TensorSpec> tensors = {{"a.weight", {2, 3}, DType::kF32},
                                           {"b.weight", {4}, DType::kF32}};
  WriteModel(dir_ / "a", tensors);
  WriteModel(dir_ / "b", tensors);
  const auto bits = [](float value) {
    uint32_t out;
    std::memcpy(&out, &value, 4);
    return out;
  };
  for (const char* model : {"a", "b"}) {
    for (int i = 0; i < 6; ++i) {
      PatchElement(dir_ / model, "a.weight", i, bits(1));
    }
    for (int i = 0; i < 4; ++i) {
      PatchElement(dir_ / model, "b.weight", i, bits(2));
    }
  }
  PatchElement(dir_ / "b", "a.weight", 1, bits(1.5f));
  PatchElement(dir_ / "b", "a.weight", 5, bits(-1));
  const auto found = Compare("a", "b");
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->tensors.size(), 2u);
  const TensorDifference& worst = found->tensors[0];
  EXPECT_EQ(worst.name, "a.weight");
  EXPECT_EQ(worst.values.signal, 6);
  EXPECT_EQ(worst.values.noise, 0.25 + 4);
  EXPECT_EQ(worst.values.max_abs_error, 2);
  EXPECT_EQ(worst.values.different, 2);
  EXPECT_EQ(worst.values.total, 6);
  EXPECT_EQ(worst.reference.type, "F32");
  EXPECT_EQ(worst.other.bytes, 24);
  EXPECT_EQ(found->tensors[1].values.different, 0);
  EXPECT_DOUBLE_EQ(found->values.sqnr_db(), 10 * std::log10(22 / 4.25));
}

TEST_F(CompareTest, NansEqualEachOtherAndNothingElse) {
  WriteModel(dir_ / "a", {{"a.weight", {8}, DType::kF32}});
  WriteModel(dir_ / "b", {{"a.weight", {8}, DType::kF32}});
  PatchElement(dir_ / "a", "a.weight", 2, 0x7FC00000);
  PatchElement(dir_ / "b", "a.weight", 2, 0x7FC00001);
  EXPECT_EQ(Compare("a", "b")->values.different, 0);
  PatchElement(dir_ / "b", "a.weight", 2, 0x7F800000);
  const auto found = Compare("a", "b");
  EXPECT_EQ(found->values.different, 1);
  EXPECT_EQ(found->values.sqnr_db(), -std::numeric_limits<double>::infinity());
}

TEST_F(CompareTest, OtherTypesAndOtherTensors) {
  WriteModel(dir_ / "a",
             {{"a.weight", {4, 8}}, {"ids", {5}, DType::kI64}, {"left", {2}}});
  WriteModel(dir_ / "b", {{"a.weight", {4, 8}, DType::kF32},
                          {"ids", {5}, DType::kI64},
                          {"right", {2}}});
  const auto found = Compare("a", "b");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->only_in_reference, ElementsAre("left"));
  EXPECT_THAT(found->only_in_other, ElementsAre("right"));
  EXPECT_EQ(found->tensors[0].name, "a.weight");
  EXPECT_GT(found->tensors[0].values.sqnr_db(), 45);  // BF16's 8 bits
  EXPECT_EQ(found->tensors[1].values.different, 0);
}

TEST_F(CompareTest, RefusesWhatCanNotBeCompared) {
  WriteModel(dir_ / "a", {{"a.weight", {4, 8}}});
  WriteModel(dir_ / "b", {{"a.weight", {8, 4}}});
  WriteModel(dir_ / "c", {{"c.weight", {4, 8}}});
  EXPECT_THAT(std::string(Compare("a", "b").status().message()),
              HasSubstr("[4, 8]"));
  EXPECT_THAT(std::string(Compare("a", "c").status().message()),
              HasSubstr("no tensor of one name"));
}

TEST_F(CompareTest, ThreadsDoNotShow) {
  WriteModel(dir_ / "a", {{"a.weight", {600, 1000}}, {"b.weight", {7, 64}}});
  WriteModel(dir_ / "b", {{"a.weight", {600, 1000}, DType::kF32},
                          {"b.weight", {7, 64}, DType::kF32}});
  const auto one = Compare("a", "b", 1);
  for (int threads : {2, 5}) {
    const auto many = Compare("a", "b", threads);
    ASSERT_TRUE(one.ok() && many.ok());
    EXPECT_EQ(many->values.noise, one->values.noise);
    EXPECT_EQ(many->values.signal, one->values.signal);
    EXPECT_EQ(many->tensors[0].values.noise, one->tensors[0].values.noise);
  }
}

}  // namespace
}  // namespace quant

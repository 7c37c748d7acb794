#include "core/base/names.h"

#include <string>
#include <vector>

#include "core/base/error.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

const std::vector<std::string> kSchemes = {"W4A16", "W8A16", "FP8_DYNAMIC"};

TEST(EditDistanceTest, CountsEdits) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("abc", ""), 3);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("W4A16", "w4a16"), 0);
  EXPECT_EQ(EditDistance("W4A61", "W4A16"), 1);  // neighbours swapped
  EXPECT_EQ(EditDistance("gptq", "gpt"), 1);
}

TEST(NearestNameTest, FindsTheNearestOrNothing) {
  EXPECT_EQ(NearestName("W4A61", kSchemes), "W4A16");
  EXPECT_EQ(NearestName("fp8-dynamic", kSchemes), "FP8_DYNAMIC");
  EXPECT_EQ(NearestName("banana", kSchemes), "");
  EXPECT_EQ(NearestName("", {}), "");
}

TEST(NearestNameTest, GivesUpOnLongNames) {
  EXPECT_EQ(NearestName(std::string(1'000'000, 'x'), kSchemes), "");
}

TEST(UnknownNameErrorTest, NamesKindNearestKnownAndField) {
  const absl::Status status =
      UnknownNameError("scheme", "W4A61", kSchemes, "recipe.scheme");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetReason(status), Reason::kUnknownName);
  EXPECT_EQ(GetField(status), "recipe.scheme");
  EXPECT_EQ(status.message(),
            "unknown scheme \"W4A61\"; did you mean \"W4A16\"? known: W4A16, "
            "W8A16, FP8_DYNAMIC");
}

TEST(UnknownNameErrorTest, EscapesAndShortensWhatItQuotes) {
  const absl::Status status =
      UnknownNameError("scheme", "\n" + std::string(5000, 'x'), kSchemes);
  EXPECT_LT(status.message().size(), 400u);
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
}

}  // namespace
}  // namespace quant

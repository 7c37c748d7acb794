#include "core/tokenizer/unicode.h"

#include <string>

#include "gtest/gtest.h"

namespace quant {
namespace {

TEST(UnicodeTest, SaysWhereTextStopsBeingUtf8) {
  EXPECT_EQ(FirstInvalidUtf8("caf\u00E9 \U0001F44B"), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("ab\xFF"), 2u);
  EXPECT_EQ(FirstInvalidUtf8("ab\xC3"), 2u);              // cut off
  EXPECT_EQ(FirstInvalidUtf8("\u00E9\x80"), 2u);          // continues nothing
  EXPECT_EQ(FirstInvalidUtf8("a\xC0\x80"), 1u);           // overlong
  EXPECT_EQ(FirstInvalidUtf8("a\xED\xA0\x80z"), 1u);      // surrogate
  EXPECT_EQ(FirstInvalidUtf8("a\xF4\x90\x80\x80z"), 1u);  // > U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8("\u4E16\xE4\xB8z"), 3u);
}

TEST(UnicodeTest, NormalForms) {
  const std::string text = "\u1E9B\u0323 \uAC01 \uFB03 A\u030A";
  EXPECT_EQ(*Normalize(text, NormalForm::kNfc),
            "\u1E9B\u0323 \uAC01 \uFB03 \u00C5");
  EXPECT_EQ(*Normalize(text, NormalForm::kNfd),
            "\u017F\u0323\u0307 \u1100\u1161\u11A8 \uFB03 A\u030A");
  EXPECT_EQ(*Normalize(text, NormalForm::kNfkc), "\u1E69 \uAC01 ffi \u00C5");
  EXPECT_EQ(*Normalize(text, NormalForm::kNfkd),
            "s\u0323\u0307 \u1100\u1161\u11A8 ffi A\u030A");
}

// Moving marks one by one would take 10^11 steps.
TEST(UnicodeTest, LongRunsOfMarksAreSorted) {
  std::string text = "a";
  for (int i = 0; i < 500'000; ++i) text += "\u0315\u0323";
  const auto normal = Normalize(text, NormalForm::kNfc);
  ASSERT_TRUE(normal.ok()) << normal.status();
  EXPECT_EQ(normal->substr(0, 7), "\u1EA1\u0323\u0323");
  EXPECT_EQ(normal->substr(normal->size() - 4), "\u0315\u0315");
}

}  // namespace
}  // namespace quant

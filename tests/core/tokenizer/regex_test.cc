#include "core/tokenizer/regex.h"

#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/tokenizer/regex_syntax.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

using Matches = std::vector<std::string>;
using testing::HasSubstr;

absl::StatusOr<Matches> MatchesOf(const std::string& pattern,
                                  const std::string& text) {
  const auto regex = Regex::Compile(pattern);
  if (!regex.ok()) return regex.status();
  const auto search = RegexSearch::Make(*regex);
  if (!search.ok()) return search.status();
  Matches matches;
  const absl::Status status =
      search->FindAll(text, [&](int64_t begin, int64_t end) {
        matches.push_back(text.substr(begin, end - begin));
      });
  if (!status.ok()) return status;
  return matches;
}

TEST(RegexTest, ClassesAreThoseOfUnicode) {
  EXPECT_EQ(*MatchesOf("\\s", "a\u00A0b\u3000\u0085\v\u180E\u200B"),
            (Matches{"\u00A0", "\u3000", "\u0085", "\v"}));
  EXPECT_EQ(*MatchesOf("\\w+", "e\u0301\u00DF_1\u203F-\u0661\u00B2"),
            (Matches{"e\u0301\u00DF_1\u203F", "\u0661"}));
  EXPECT_EQ(*MatchesOf("\\d+", "12\u0662x\u00B2"), (Matches{"12\u0662"}));
  EXPECT_EQ(*MatchesOf("[\\S]+", "ab c"), (Matches{"ab", "c"}));
  EXPECT_EQ(*MatchesOf("\\W", "a-b"), (Matches{"-"}));
  // U+3001 is used with Han, but is not of the script.
  EXPECT_EQ(*MatchesOf("\\p{Han}+", "\u4E16\u3001\u754C"),
            (Matches{"\u4E16", "\u754C"}));
  EXPECT_EQ(*MatchesOf("\\p{^Lu}\\P{L}", "Aa1"), (Matches{"a1"}));
}

TEST(RegexTest, LinesCharactersAndCase) {
  EXPECT_EQ(*MatchesOf("\\s+$", "a  \nb "), (Matches{"  ", " "}));
  EXPECT_EQ(*MatchesOf(".+", "a\r\u2028b\nc"), (Matches{"a\r\u2028b", "c"}));
  EXPECT_EQ(*MatchesOf("(?i:'s)", "'S '\u017F"), (Matches{"'S", "'\u017F"}));
  EXPECT_EQ(*MatchesOf("\\u00e9|\\x{1F44B}|\\v", "\u00E9\U0001F44B\v\n"),
            (Matches{"\u00E9", "\U0001F44B", "\v"}));
}

TEST(RegexTest, EmptyMatchesAreNotRepeated) {
  EXPECT_EQ(*MatchesOf("(?=b)", "ab\u00E9b"), (Matches{"", ""}));
  EXPECT_EQ(*MatchesOf("a*", "aab"), (Matches{"aa", ""}));
}

TEST(RegexTest, WhatMeansSomethingElseIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"[a[b]]", "a class inside a class"},
      {"[a&&b]", "an intersection"},
      {"\\h", "the escape"},
      {"\\bword", "the escape"},
      {"(a)\\1", "the escape"},
      {"(?<name>a)", "the group"},
      {"(?m:a)", "the group"},
      {"(*UTF)", "the group"},
      {"a{,3}", "no repeat"},
      {"a{2}+", "a repeat of a repeat"},
      {"^a", "an anchor"},
      {"[]a]", "an empty class"},
      {"[a", "without its end"},
      {"[\\W]", "the escape"},
      {"\\p{L", "the escape"},
      {"\\p{No-such}", "the property"},
      {"\\xC3", "the escape"},
      {"a\\", "a lone backslash"}};
  for (const auto& [pattern, what] : cases) {
    const auto translated = PcrePattern(pattern);
    EXPECT_EQ(GetReason(translated.status()), Reason::kUnsupported) << pattern;
    EXPECT_THAT(std::string(translated.status().message()), HasSubstr(what));
  }
}

TEST(RegexTest, BrokenPatternsAreRefused) {
  for (const char* pattern : {"(a", "a**b", "\\p{Klingon}", "a{9999999}"}) {
    EXPECT_EQ(GetReason(Regex::Compile(pattern).status()), Reason::kUnsupported)
        << pattern;
  }
  EXPECT_EQ(GetReason(Regex::Compile(std::string(20000, 'a')).status()),
            Reason::kModelMalformed);
  EXPECT_FALSE(Regex::Literal("").ok());
}

// (a+)+[bc] takes 2^n steps on n times "a"; long runs of spaces do not.
TEST(RegexTest, BacktrackingHasALimit) {
  const auto matches = MatchesOf("(?:a+)+[bc]", std::string(40, 'a'));
  EXPECT_EQ(matches.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(matches.status().message()), HasSubstr("steps"));
  const auto spaces = MatchesOf("\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                                std::string(2 << 20, ' ') + "x");
  ASSERT_TRUE(spaces.ok()) << spaces.status();
  EXPECT_EQ(spaces->size(), 2u);
}

}  // namespace
}  // namespace quant

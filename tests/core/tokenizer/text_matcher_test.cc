#include "core/tokenizer/text_matcher.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace quant {
namespace {

struct Found {
  int64_t begin, end;
  int32_t index;
  bool operator==(const Found&) const = default;
};

std::vector<Found> FindAll(const TextMatcher& matcher,
                           const std::string& text) {
  std::vector<Found> all;
  matcher.FindAll(text, [&](int64_t begin, int64_t end, int32_t index) {
    all.push_back({begin, end, index});
  });
  return all;
}

// The rule itself: at every place the longest that begins there.
std::vector<Found> FindSlowly(const std::vector<std::string>& texts,
                              const std::string& text) {
  std::vector<Found> all;
  for (size_t at = 0; at < text.size();) {
    int32_t best = -1;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (text.compare(at, texts[i].size(), texts[i]) == 0 &&
          (best < 0 || texts[i].size() > texts[best].size())) {
        best = static_cast<int32_t>(i);
      }
    }
    if (best < 0) {
      ++at;
      continue;
    }
    const size_t end = at + texts[best].size();
    all.push_back({static_cast<int64_t>(at), static_cast<int64_t>(end), best});
    at = end;
  }
  return all;
}

TEST(TextMatcherTest, FindsTheLeftmostLongest) {
  const std::vector<std::string> texts = {"ab", "abcd", "bc", "\xE2\x96\x81"};
  EXPECT_EQ(FindAll(TextMatcher(texts), "xabcabcd\xE2\x96\x81"),
            (std::vector<Found>{{1, 3, 0}, {4, 8, 1}, {8, 11, 3}}));
  EXPECT_TRUE(FindAll(TextMatcher(), "abc").empty());
}

TEST(TextMatcherTest, AgreesWithTheRule) {
  std::mt19937 random(7);
  const auto word = [&](size_t size) {
    std::string out;
    while (out.size() < size) out += "ab\x80\xFF"[random() % 4];
    return out;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> texts;
    for (size_t i = 1 + random() % 12; i > 0; --i) {
      texts.push_back(word(1 + random() % 6));
    }
    const std::string text = word(random() % 80);
    EXPECT_EQ(FindAll(TextMatcher(texts), text), FindSlowly(texts, text));
  }
}

// Trying every text at every place would take 10^11 steps.
TEST(TextMatcherTest, TakesTimeLinearInTheText) {
  const TextMatcher matcher({std::string(1 << 16, 'a') + "b"});
  EXPECT_TRUE(FindAll(matcher, std::string(4 << 20, 'a')).empty());
}

}  // namespace
}  // namespace quant

#include "core/base/trace_context.h"

#include <gtest/gtest.h>

#include <set>

namespace quant {
namespace {

// The example of the recommendation.
constexpr char kExample[] =
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(Traceparent, IsReadAndWritten) {
  const auto trace = ParseTraceparent(kExample);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(trace->parent_id, "00f067aa0ba902b7");
  EXPECT_TRUE(trace->sampled);
  EXPECT_EQ(ToTraceparent(*trace), kExample);
  EXPECT_FALSE(
      ParseTraceparent(
          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe")
          ->sampled);
}

TEST(Traceparent, OfALaterVersionIsReadAsFarAsItIsKnown) {
  const std::string rest = std::string(kExample).substr(2);
  EXPECT_TRUE(ParseTraceparent("cc" + rest).ok());
  EXPECT_TRUE(ParseTraceparent("cc" + rest + "-what-comes").ok());
  EXPECT_FALSE(ParseTraceparent("cc" + rest + "x").ok());
  EXPECT_FALSE(ParseTraceparent("ff" + rest).ok());
}

TEST(Traceparent, IsHostileUntilChecked) {
  const std::string good = kExample;
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(ParseTraceparent(good.substr(0, i)).ok()) << i;
    for (const char bad : {'G', 'A', ' ', '\n', '\0', '\x80', '"'}) {
      std::string text = good;
      text[i] = bad;
      EXPECT_FALSE(ParseTraceparent(text).ok()) << i;
    }
  }
  for (const std::string& bad :
       {good + "-", good + " ", " " + good, std::string(1 << 20, '0'),
        "00-" + std::string(32, '0') + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + std::string(16, '0') +
            "-01"}) {
    EXPECT_FALSE(ParseTraceparent(bad).ok()) << bad.substr(0, 100);
  }
}

TEST(Traceparent, NewOnesDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const TraceContext trace = NewTrace();
    EXPECT_TRUE(ParseTraceparent(ToTraceparent(trace)).ok());
    EXPECT_TRUE(seen.insert(trace.trace_id).second);
  }
}

}  // namespace
}  // namespace quant

#include "client/cli/output.h"

#include <gtest/gtest.h>

#include "client/cli/array.h"
#include "client/cli/progress.h"
#include "client/cli/server_flags.h"
#include "client/cli/yaml.h"

namespace quant::cli {
namespace {

TEST(TableTest, AlignsTextLeftAndNumbersRight) {
  Table table({"NAME", "BYTES", "WHY"});
  table.Add({"a", "5", "x"});
  table.Add({"longer", "1234567", ""});
  EXPECT_EQ(table.ToString(),
            "NAME      BYTES  WHY\n"
            "a             5  x\n"
            "longer  1234567\n");
}

TEST(TableTest, CountsCharactersNotBytes) {
  Table table({"A", "B"});
  table.Add({"\xC3\xA9\xC3\xA9", "x"});
  EXPECT_EQ(table.ToString(), "A   B\n\xC3\xA9\xC3\xA9  x\n");
}

TEST(PrintableTest, ControlCharactersAreShownNotObeyed) {
  EXPECT_EQ(Printable("a\x1b[31m\n\x7f"), "a\\x1b[31m\\x0a\\x7f");
  EXPECT_EQ(Printable("\xC2\x9B"
                      "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(Printable("\xC3\xA9\xC2\xA0"), "\xC3\xA9\xC2\xA0");
}

TEST(YamlTest, QuotesWhatYamlWouldMisread) {
  EXPECT_EQ(JsonToYaml(R"({"a":"true","b":"12","c":"x y","d":[],"e":true,)"
                       R"("f":[{"g":1,"h":["i"]},2],"j":"jobs/k","l":""})"),
            "a: \"true\"\n"
            "b: \"12\"\n"
            "c: \"x y\"\n"
            "d: []\n"
            "e: true\n"
            "f:\n"
            "  - g: 1\n"
            "    h:\n"
            "      - i\n"
            "  - 2\n"
            "j: jobs/k\n"
            "l: \"\"\n");
  EXPECT_EQ(JsonToYaml("{}"), "{}\n");
  EXPECT_EQ(JsonToYaml("no json"), "no json");
}

TEST(NpyTest, RefusesWhatItCanNotHold) {
  const std::string good = ToNpy({1, 2, 3, 4, 5, 6}, {2, 3});
  ASSERT_TRUE(ParseNpy(good).ok());
  EXPECT_EQ(ParseNpy(good)->shape, (std::vector<int64_t>{2, 3}));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseNpy(absl::string_view(good).substr(0, size)).ok())
        << size;
  }
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  EXPECT_FALSE(ParseNpy(replaced("<f4", "<c8")).ok());
  EXPECT_FALSE(ParseNpy(replaced("<f4", "<f-")).ok());
  EXPECT_FALSE(ParseNpy(replaced("(2, 3,)", "(9999999999, 9999999999,)")).ok());
  EXPECT_FALSE(ParseNpy(replaced("False", "True ")).ok());
}

TEST(ArrayTest, ReadsRows) {
  const auto array = ReadArray(" -1, 2.5; 3 4;");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->values, (std::vector<float>{-1, 2.5, 3, 4}));
  EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 2}));
  EXPECT_FALSE(ReadArray("").ok());
  EXPECT_FALSE(ReadArray("1;2,3").ok());
}

TEST(DurationTest, AcceptsUnitsAndSeconds) {
  using std::chrono::milliseconds;
  EXPECT_EQ(*ParseDuration("--t", "90s"), milliseconds(90'000));
  EXPECT_EQ(*ParseDuration("--t", "1h30m"), milliseconds(5'400'000));
  EXPECT_EQ(*ParseDuration("--t", "1.5"), milliseconds(1500));
  for (const char* text : {"", "soon", "0", "-1s", "1e30", "nan", "inf"}) {
    EXPECT_FALSE(ParseDuration("--t", text).ok()) << text;
  }
}

TEST(FormatSecondsTest, ThreeScales) {
  EXPECT_EQ(FormatSeconds(59.4), "59 s");
  EXPECT_EQ(FormatSeconds(200), "3 min 20 s");
  EXPECT_EQ(FormatSeconds(7260), "2 h 01 min");
}

}  // namespace
}  // namespace quant::cli

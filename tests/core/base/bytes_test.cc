#include "core/base/bytes.h"

#include "core/base/error.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

TEST(ParseBytesTest, TakesUnitsOfBothKinds) {
  EXPECT_EQ(*ParseBytes("0"), 0);
  EXPECT_EQ(*ParseBytes("4096"), 4096);
  EXPECT_EQ(*ParseBytes("7B"), 7);
  EXPECT_EQ(*ParseBytes("1kB"), 1000);
  EXPECT_EQ(*ParseBytes("1KiB"), 1024);
  EXPECT_EQ(*ParseBytes("4.6GB"), 4'600'000'000);
  EXPECT_EQ(*ParseBytes(" 512 mib "), 512 << 20);
  EXPECT_EQ(*ParseBytes("2TB"), 2'000'000'000'000);
  EXPECT_EQ(*ParseBytes("1TiB"), int64_t{1} << 40);
}

TEST(ParseBytesTest, RefusesTheRest) {
  for (const char* text :
       {"", "GB", "-1", "+1", "1e3", "1.2.3", ".", "1 PB", "1G", "inf", "nan",
        "0x10", "99999999999TB", "1 GB extra"}) {
    const auto bytes = ParseBytes(text);
    EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument)
        << text;
    EXPECT_EQ(GetReason(bytes.status()), Reason::kInvalidSpec);
  }
}

TEST(FormatBytesTest, ShowsThreeDigits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.00 kB");
  EXPECT_EQ(FormatBytes(9'994), "9.99 kB");
  EXPECT_EQ(FormatBytes(9'996), "10.0 kB");
  EXPECT_EQ(FormatBytes(99'960), "100 kB");
  EXPECT_EQ(FormatBytes(999'600), "1.00 MB");
  EXPECT_EQ(FormatBytes(2'200'000'000), "2.20 GB");
  EXPECT_EQ(FormatBytes(INT64_MAX), "9.22 EB");
}

}  // namespace
}  // namespace quant

#include "server/telemetry/log.h"

#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Line(LogFormat format, const std::vector<LogField>& fields) {
  return FormatLogLine(format, 1'700'000'000'123'456, LogLevel::kInfo,
                       "attempt_started", fields);
}

TEST(LogTest, JsonCarriesTypedFieldsInOrder) {
  const std::string line = Line(
      LogFormat::kJson,
      {{"job", "abc"}, {"attempt", 3}, {"duration_ms", 1.5}, {"retry", true}});
  EXPECT_EQ(line,
            "{\"ts\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\","
            "\"event\":\"attempt_started\",\"job\":\"abc\",\"attempt\":3,"
            "\"duration_ms\":1.5,\"retry\":true}");
}

TEST(LogTest, TextQuotesWhatIsNotOneWord) {
  EXPECT_EQ(Line(LogFormat::kText,
                 {{"job", "abc"}, {"msg", "two words"}, {"empty", ""}}),
            "2023-11-14T22:13:20.123456Z info attempt_started job=abc "
            "msg=\"two words\" empty=\"\"");
}

// A label with a newline or an escape sequence must stay one line of data.
TEST(LogTest, HostileValuesForgeNoLine) {
  const std::string hostile =
      "x\n{\"level\":\"error\"}\r\x1b[31mred\x1b[0m \xff\xfe \xc2\x9b";
  for (const LogFormat format : {LogFormat::kJson, LogFormat::kText}) {
    const std::string line = Line(format, {{"label", hostile}});
    for (const char c : line) {
      EXPECT_GE(c, ' ') << line;
      EXPECT_LT(c, 0x7f) << line;
    }
  }
  const auto parsed =
      nlohmann::json::parse(Line(LogFormat::kJson, {{"label", hostile}}));
  EXPECT_EQ(parsed["level"], "info");
  EXPECT_THAT(parsed["label"].get<std::string>(), HasSubstr("\x1b[31mred"));
}

TEST(LogTest, WritesLinesOfTheLevelAndAbove) {
  InitLogging(LogFormat::kJson, LogLevel::kWarning);
  testing::internal::CaptureStderr();
  Log(LogLevel::kInfo, "quiet");
  Log(LogLevel::kError, "loud", {{"code", 7}});
  const std::string out = testing::internal::GetCapturedStderr();
  InitLogging(LogFormat::kText);
  EXPECT_THAT(out, Not(HasSubstr("quiet")));
  EXPECT_EQ(nlohmann::json::parse(out)["code"], 7);
}

TEST(LogTest, ClosedStderrDoesNotKill) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int ends[2];
    if (::pipe(ends) != 0) ::_exit(2);
    ::close(ends[0]);
    ::dup2(ends[1], STDERR_FILENO);
    InitLogging(LogFormat::kJson);
    for (int i = 0; i < 100; ++i) Log(LogLevel::kError, "nobody_reads");
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace quant

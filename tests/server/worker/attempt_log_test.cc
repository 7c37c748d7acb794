// What attempts leave in the logs of their jobs.
#include "server/worker/attempt_log.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "tests/server/worker/worker_test_base.h"

namespace quant {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class LogTest : public WorkerTest {
 protected:
  std::string Text(const std::string& id) {
    return *logs_->Read(id, 0, 1 << 30);
  }
  // Values of a field, of the lines of one event.
  std::vector<std::string> Values(const std::string& id,
                                  const std::string& event,
                                  const std::string& field) {
    std::vector<std::string> out;
    for (const auto& line : absl::StrSplit(Text(id), '\n', absl::SkipEmpty())) {
      const auto json = nlohmann::json::parse(std::string(line));
      if (json["event"] == event) out.push_back(json.value(field, ""));
    }
    return out;
  }
  void WaitForLine(const std::string& id, const std::string& text) {
    EXPECT_TRUE(Eventually([&] {
      return Text(id).find(text) != std::string::npos;
    })) << Text(id);
  }
};

TEST_F(LogTest, TellsEveryAttempt) {
  const std::string id = Enqueue(Spec(SlowModel(), "mse"));
  StartPool();
  ASSERT_TRUE(Signal(WaitForChild(), SIGKILL));
  WaitForLine(id, "crashed");
  WaitForEnd(id);
  StopPool();
  EXPECT_EQ(Job(id).state, JobState::kSucceeded);
  EXPECT_THAT(Values(id, "attempt_ended", "outcome"),
              ElementsAre("crashed", "succeeded"));
  EXPECT_THAT(Values(id, "attempt_ended", "msg"),
              ElementsAre(HasSubstr("killed by signal 9"), ""));
  EXPECT_THAT(Values(id, "job_created", "job"), ElementsAre(id));
  EXPECT_THAT(Values(id, "stage", "stage"), testing::Contains("PLANNING"));
}

TEST_F(LogTest, AStopIsToldBeforeItsEnd) {
  const std::string id = Enqueue(Spec(SlowModel(), "mse"));
  StartPool();
  WaitForHalf(id);
  Cancel(id);
  WaitForEnd(id);
  StopPool();
  EXPECT_THAT(Values(id, "stopping", "why"), ElementsAre("cancelled"));
}

// Lines come from where strangers' files are read.
TEST_F(LogTest, AWorkerSpeaksOnlyForItself) {
  const std::string id = "01m8416xmn36h2xja8g43dzfb0";
  {
    JobLogs::Writer writer(*logs_, {.job_id = id, .trace_id = "ours"});
    AttemptLog log(writer);
    worker::v1::LogLine line;
    line.set_event("note");
    for (const char* key : {"job", "trace_id", "event", "level", "ts", "A b",
                            "a\nb", ""}) {
      (*line.mutable_fields())[key] = "theirs";
    }
    (*line.mutable_fields())["msg"] = std::string(100'000, 'x');
    log.Line(line);
    EXPECT_THAT(Text(id), Not(HasSubstr("theirs")));
    EXPECT_THAT(Text(id), HasSubstr("\"from\":\"worker\""));
    EXPECT_LT(Text(id).size(), 2000u);
    line.set_event("attempt_ended\n{}");
    log.Line(line);
    EXPECT_THAT(Text(id), Not(HasSubstr("attempt_ended")));
    line.set_event("note");
    line.clear_fields();
    for (int i = 0; i < 5000; ++i) log.Line(line);
    EXPECT_LE(Values(id, "note", "event").size(), 1000u);
  }
}

}  // namespace
}  // namespace quant

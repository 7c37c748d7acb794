#include "server/store/job_logs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_split.h"
#include "core/base/error.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

constexpr char kJob[] = "01m8416xmn36h2xja8g43dzfb0";

class JobLogsTest : public testing::Test {
 protected:
  void Open(int64_t max_bytes = 1 << 20) {
    logs_ = *JobLogs::Open(root_.path(), {.max_bytes = max_bytes});
  }
  std::string Text() { return *logs_->Read(kJob, 0, 1 << 30); }
  std::vector<std::string> Lines() {
    return absl::StrSplit(Text(), '\n', absl::SkipEmpty());
  }

  TempDir root_;
  std::unique_ptr<JobLogs> logs_;
};

TEST_F(JobLogsTest, LinesSayWhoseTheyAre) {
  Open();
  EXPECT_EQ(*logs_->Size(kJob), 0);
  EXPECT_EQ(Text(), "");
  const JobLogSubject subject = {.job_id = kJob,
                                 .create_time = 1'700'000'000'000'000,
                                 .principal = "ci",
                                 .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
                                 .attempt = 2};
  JobLogs::Writer(*logs_, subject).Note(LogLevel::kInfo, "one", {{"n", 1}});
  JobLogs::Writer(*logs_, subject)
      .Note(LogLevel::kWarning, "two", {{"msg", "line\nbreak \x1b[31m"}});
  const std::string who =
      R"("job":"01m8416xmn36h2xja8g43dzfb0","attempt":2,)"
      R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",)";
  EXPECT_THAT(
      Lines(),
      ElementsAre(
          R"({"ts":"2023-11-14T22:13:20.000000Z","level":"info",)"
          R"("event":"job_created","job":"01m8416xmn36h2xja8g43dzfb0",)"
          R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",)"
          R"("principal":"ci"})",
          EndsWith(R"("event":"one",)" + who + R"("n":1})"),
          EndsWith(R"("level":"warning","event":"two",)" + who +
                   R"("msg":"line\nbreak \u001b[31m"})")));
}

TEST_F(JobLogsTest, OutlivesRestartsAndTornLines) {
  Open();
  JobLogs::Writer(*logs_, {.job_id = kJob}).Note(LogLevel::kInfo, "before");
  const int64_t size = *logs_->Size(kJob);
  logs_.reset();
  std::ofstream(root_.File("logs/" + std::string(kJob)), std::ios::app)
      << R"({"ts":)";
  Open();
  JobLogs::Writer(*logs_, {.job_id = kJob}).Note(LogLevel::kInfo, "after");
  EXPECT_THAT(Lines(),
              ElementsAre(HasSubstr("job_created"), HasSubstr("before"),
                          R"({"ts":)", HasSubstr("after")));
  EXPECT_THAT(*logs_->Read(kJob, size, 6), R"({"ts":)");
  EXPECT_EQ(*logs_->Read(kJob, *logs_->Size(kJob), 100), "");
  EXPECT_EQ(*logs_->Read(kJob, *logs_->Size(kJob) + 5, 100), "");
}

TEST_F(JobLogsTest, IsBounded) {
  Open(/*max_bytes=*/16'000);
  JobLogs::Writer writer(*logs_, {.job_id = kJob});
  for (int i = 0; i < 1000; ++i) writer.Note(LogLevel::kInfo, "news");
  const int64_t full = *logs_->Size(kJob);
  EXPECT_LT(full, 16'000 + 400);
  EXPECT_THAT(Lines().back(), HasSubstr("log_is_full"));
  writer.Note(LogLevel::kWarning, "trouble");
  EXPECT_THAT(Lines().back(), HasSubstr("trouble"));
  for (int i = 0; i < 1000; ++i) writer.Note(LogLevel::kError, "trouble");
  EXPECT_LT(*logs_->Size(kJob), 17'000 + 400);
}

TEST_F(JobLogsTest, WhoListensIsTold) {
  Open();
  int called = 0;
  const uint64_t handle = logs_->Subscribe(kJob, [&] { ++called; });
  {
    JobLogs::Writer writer(*logs_, {.job_id = kJob});
    writer.Note(LogLevel::kInfo, "event");
    EXPECT_EQ(called, 2) << "of its beginning, and of the event";
    JobLogs::Writer second(*logs_, {.job_id = kJob});
    EXPECT_TRUE(logs_->HasWriter(kJob));
  }
  EXPECT_EQ(called, 3) << "the last writer is gone";
  EXPECT_FALSE(logs_->HasWriter(kJob));
  logs_->Unsubscribe(handle);
  JobLogs::Writer(*logs_, {.job_id = kJob}).Note(LogLevel::kInfo, "event");
  EXPECT_EQ(called, 3);
}

TEST_F(JobLogsTest, NamesThatAreNone) {
  Open();
  for (const std::string id : {"../x", "", "01M8416XMN36H2XJA8G43DZFB0", "."}) {
    EXPECT_TRUE(absl::IsNotFound(logs_->Size(id).status())) << id;
    EXPECT_TRUE(absl::IsNotFound(logs_->Read(id, 0, 1).status())) << id;
    EXPECT_FALSE(logs_->Remove(id).ok()) << id;
    JobLogs::Writer(*logs_, {.job_id = id}).Note(LogLevel::kInfo, "event");
  }
  EXPECT_TRUE(logs_->Ids()->empty());
}

// A file where the directory should be: the disk may be in any state.
TEST_F(JobLogsTest, NeverFailsLoudly) {
  Open();
  ASSERT_TRUE(RemoveTree(root_.File("logs")).ok());
  JobLogs::Writer writer(*logs_, {.job_id = kJob});
  writer.Note(LogLevel::kError, "event");
  EXPECT_EQ(*logs_->Size(kJob), 0);
}

}  // namespace
}  // namespace quant

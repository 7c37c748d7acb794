// Reading a job's log through cuts and restarts.
#include "client/library/job_log.h"

#include <gmock/gmock.h>

#include <mutex>
#include <thread>

#include "core/base/error.h"
#include "tests/client/library/server_test_base.h"

namespace quant {
namespace {

using std::chrono::milliseconds;

class JobLogTest : public ServerTest {
 protected:
  struct Reading {
    std::mutex mutex;
    std::string text;
    absl::StatusOr<int64_t> size = 0;
    std::jthread thread;

    std::string Text() {
      std::lock_guard lock(mutex);
      return text;
    }
  };
  static void Follow(Client& client, const std::string& job,
                     std::stop_token stop, Reading& out) {
    out.thread = std::jthread([&client, job, stop, &out] {
      out.size = ReadJobLog(client, job, {.follow = true, .stop = stop},
                            [&out](absl::string_view bytes) {
                              std::lock_guard lock(out.mutex);
                              out.text += std::string(bytes);
                            });
    });
  }
};

TEST_F(JobLogTest, FollowsAcrossAKilledServer) {
  StartServer({"--workers", "0"});
  const auto client = Connect({.retry_for = milliseconds(60'000)});
  const auto job = client->Submit(BundledJob());
  ASSERT_TRUE(job.ok()) << job.status();
  Reading reading;
  Follow(*client, job->name(), {}, reading);
  KillServer();
  StartServer({"--workers", "1"});
  reading.thread.join();
  ASSERT_TRUE(reading.size.ok()) << reading.size.status();
  EXPECT_EQ(*reading.size, static_cast<int64_t>(reading.text.size()));
  EXPECT_THAT(reading.text, testing::HasSubstr("\"job_created\""));
  EXPECT_THAT(reading.text, testing::HasSubstr("\"state\":\"SUCCEEDED\""));
  std::string again;
  const auto size = ReadJobLog(
      *client, job->name(), {.offset = 10},
      [&](absl::string_view bytes) { again += std::string(bytes); });
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(again, reading.text.substr(10));
}

TEST_F(JobLogTest, StopsWhenAsked) {
  StartServer({"--workers", "0"});
  const auto client = Connect();
  const auto job = client->Submit(BundledJob());
  ASSERT_TRUE(job.ok()) << job.status();
  std::stop_source stop;
  Reading reading;
  Follow(*client, job->name(), stop.get_token(), reading);
  stop.request_stop();
  reading.thread.join();
  EXPECT_TRUE(absl::IsCancelled(reading.size.status()))
      << reading.size.status();
  const auto none = ReadJobLog(*client, "jobs/none", {}, [](auto) {});
  EXPECT_EQ(GetReason(none.status()), Reason::kJobNotFound);
}

TEST_F(JobLogTest, ATraceGoesWithEveryCall) {
  StartServer({"--workers", "0"});
  const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const auto client =
      Connect({.traceparent = "00-" + trace + "-00f067aa0ba902b7-01"});
  const auto job = client->Submit(BundledJob());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->trace_id(), trace);
  const auto bad = Client::Connect("127.0.0.1:1", {.traceparent = "none"});
  EXPECT_TRUE(absl::IsInvalidArgument(bad.status())) << bad.status();
}

}  // namespace
}  // namespace quant

// Watching through cuts, silence and restarts.
#include "client/library/watch.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "quant/v1/job_service.grpc.pb.h"
#include "tests/client/library/server_test_base.h"

namespace quant {
namespace {

using std::chrono::milliseconds;
using v1::WatchJobResponse;

class WatchTest : public ServerTest {
 protected:
  // A watch of `name` on a thread of its own.
  struct Running {
    std::vector<WatchJobResponse> events;
    std::atomic<int> seen = 0;
    absl::StatusOr<v1::Job> job;
    std::jthread thread;
  };

  static void Start(Client& client, const std::string& name,
                    WatchOptions options, Running& out) {
    out.thread = std::jthread([&client, name, options, &out] {
      out.job = Watch(client, name, options, [&out](const auto& event) {
        out.events.push_back(event);
        ++out.seen;
      });
    });
  }

  static void ExpectDurableEventsOnceAndInOrder(
      const std::vector<WatchJobResponse>& events) {
    int64_t last = 0;
    for (const WatchJobResponse& event : events) {
      if (event.kind() == WatchJobResponse::PROGRESS ||
          event.kind() == WatchJobResponse::SNAPSHOT ||
          event.kind() == WatchJobResponse::FINAL) {
        continue;
      }
      EXPECT_GT(event.sequence(), last) << event.ShortDebugString();
      last = event.sequence();
    }
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.front().kind(), WatchJobResponse::SNAPSHOT);
    EXPECT_EQ(events.back().kind(), WatchJobResponse::FINAL);
  }
};

TEST_F(WatchTest, ReattachesAcrossAKilledServer) {
  StartServer({"--workers", "0"});
  const auto client = Connect({.retry_for = milliseconds(60'000)});
  const auto job = client->Submit(BundledJob());
  ASSERT_TRUE(job.ok()) << job.status();
  Running watch;
  Start(*client, job->name(), {}, watch);
  ASSERT_TRUE(Eventually(std::chrono::seconds(30),
                         [&] { return watch.seen.load() >= 1; }));
  KillServer();
  StartServer({"--workers", "1"});
  watch.thread.join();
  ASSERT_TRUE(watch.job.ok()) << watch.job.status();
  EXPECT_EQ(watch.job->state(), v1::Job::SUCCEEDED);
  ExpectDurableEventsOnceAndInOrder(watch.events);
  int snapshots = 0;
  for (const auto& event : watch.events) {
    snapshots += event.kind() == WatchJobResponse::SNAPSHOT ? 1 : 0;
  }
  EXPECT_EQ(snapshots, 1) << "it took up by sequence, not from the start";
  EXPECT_GE(proxy_->connections(), 2);
}

TEST_F(WatchTest, NoticesAPulledCable) {
  StartServer({"--workers", "0"});
  const auto client = Connect();
  const auto job = client->Submit(BundledJob());
  ASSERT_TRUE(job.ok()) << job.status();
  Running watch;
  WatchOptions options;
  options.silence = milliseconds(500);
  Start(*client, job->name(), options, watch);
  ASSERT_TRUE(Eventually(std::chrono::seconds(30),
                         [&] { return watch.seen.load() >= 1; }));
  proxy_->FreezeOpenConnections();
  const int before = proxy_->connections();
  ASSERT_TRUE(Eventually(std::chrono::seconds(30), [&] {
    return proxy_->connections() > before;
  })) << "a silent stream is replaced, on another connection";
  const auto direct = Client::Connect(server_->grpc_address());
  ASSERT_TRUE((*direct)->Cancel(job->name()).ok());
  watch.thread.join();
  ASSERT_TRUE(watch.job.ok()) << watch.job.status();
  EXPECT_EQ(watch.job->state(), v1::Job::CANCELLED);
  ExpectDurableEventsOnceAndInOrder(watch.events);
}

TEST_F(WatchTest, StopsWhenAskedAndLeavesTheJobAlone) {
  StartServer({"--workers", "0"});
  const auto client = Connect();
  const auto job = client->Submit(BundledJob());
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Wait(*client, job->name(), milliseconds(300)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  std::stop_source stop;
  Running watch;
  WatchOptions options;
  options.stop = stop.get_token();
  Start(*client, job->name(), options, watch);
  ASSERT_TRUE(Eventually(std::chrono::seconds(30),
                         [&] { return watch.seen.load() >= 1; }));
  stop.request_stop();
  watch.thread.join();
  EXPECT_EQ(watch.job.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(client->Get(job->name())->state(), v1::Job::QUEUED);
}

TEST_F(WatchTest, ASequenceOfTheFutureStartsOver) {
  StartServer();
  const auto client = Connect();
  const v1::Job job = FinishedJob(*client);
  WatchOptions options;
  options.after_sequence = job.event_sequence() + 100;
  const auto done = Watch(*client, job.name(), options);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->etag(), job.etag());
}

// Whatever is in between and has less patience than this client.
class HastyService final : public v1::JobService::Service {
 public:
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest*,
                        grpc::ServerWriter<WatchJobResponse>*) override {
    ++calls;
    return {grpc::StatusCode::DEADLINE_EXCEEDED, "too slow"};
  }
  std::atomic<int> calls = 0;
};

TEST(WatchDeadlineTest, OneThatComesAtOnceIsNotAskedForInALoop) {
  HastyService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto client = Client::Connect("127.0.0.1:" + std::to_string(port),
                                      {.retry_for = milliseconds(500)});
  const auto job = Wait(**client, "jobs/x", std::chrono::seconds(10));
  EXPECT_EQ(job.status().code(), absl::StatusCode::kUnavailable)
      << job.status();
  EXPECT_LT(service.calls, 10);
}

TEST_F(WatchTest, AnUnknownJobIsAnAnswer) {
  StartServer();
  const auto client = Connect();
  EXPECT_EQ(GetReason(Watch(*client, "jobs/nope").status()),
            Reason::kJobNotFound);
}

}  // namespace
}  // namespace quant

// The contract of WatchJob, sentence by sentence.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/server/api/api_test_base.h"

namespace quant {
namespace {

using Response = v1::WatchJobResponse;
using Reader = grpc::ClientReader<Response>;

struct Watched {
  std::vector<Response> messages;
  grpc::Status status;
};

class WatchTest : public ApiTest {
 protected:
  std::unique_ptr<Reader> Open(grpc::ClientContext* context,
                               const std::string& name, int64_t after = 0) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_after_sequence(after);
    return jobs_stub_->WatchJob(context, request);
  }

  Watched WatchToEnd(const std::string& name, int64_t after = 0) {
    auto context = Context();
    auto reader = Open(context.get(), name, after);
    Watched out;
    Response response;
    while (reader->Read(&response)) out.messages.push_back(response);
    out.status = reader->Finish();
    return out;
  }

  v1::Job Cancel(const std::string& name) {
    v1::CancelJobRequest request;
    request.set_name(name);
    v1::Job job;
    EXPECT_TRUE(jobs_stub_->CancelJob(Context().get(), request, &job).ok());
    return job;
  }

  v1::Job Retry(const std::string& name) {
    v1::RetryJobRequest request;
    request.set_name(name);
    v1::Job job;
    EXPECT_TRUE(jobs_stub_->RetryJob(Context().get(), request, &job).ok());
    return job;
  }

  // Straight into the queue: a job whose snapshot fills any flow control.
  std::string EnqueueLarge() {
    v1::JobSpec spec;
    spec.mutable_source()->set_server_path(std::string(2 << 20, 'x'));
    EnqueueRequest request;
    request.spec = spec.SerializeAsString();
    Answered<JobRecord> answer;
    jobs_->Enqueue(request, answer.callback());
    return "jobs/" + answer.Get()->id;
  }

  // Durable kinds come in order, each once, none left out.
  static void ExpectGapless(const std::vector<Response>& messages,
                            int64_t after) {
    int64_t last = after;
    for (const Response& message : messages) {
      switch (message.kind()) {
        case Response::SNAPSHOT:
          last = message.sequence();
          break;
        case Response::PROGRESS:
        case Response::HEARTBEAT:
        case Response::FINAL:
          EXPECT_EQ(message.sequence(), last);
          break;
        default:
          EXPECT_EQ(message.sequence(), last + 1);
          last = message.sequence();
      }
    }
  }

  bool Eventually(const std::function<bool()>& condition) {
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
};

TEST_F(WatchTest, FollowsAJobFromSnapshotToFinal) {
  Start();
  const v1::Job job = CreateJob();
  auto context = Context();
  auto reader = Open(context.get(), job.name());
  Response first;
  ASSERT_TRUE(reader->Read(&first));
  EXPECT_EQ(first.kind(), Response::SNAPSHOT);
  EXPECT_FALSE(first.resync());
  EXPECT_EQ(first.sequence(), job.event_sequence());
  EXPECT_EQ(first.job().SerializeAsString(), job.SerializeAsString());

  const JobRecord claimed = Claim();
  v1::Progress progress;
  progress.set_fraction(0.5);
  progress.set_tensor("w");
  std::vector<Response> rest;
  Response next;
  bool saw_progress = false;
  jobs_->Progress(claimed.id, claimed.lease_token,
                  progress.SerializeAsString());
  while (!saw_progress && reader->Read(&next)) {
    rest.push_back(next);
    saw_progress = next.kind() == Response::PROGRESS;
  }
  ASSERT_TRUE(saw_progress);
  EXPECT_EQ(rest.back().progress().tensor(), "w");
  const std::string artifact = Publish(claimed.id, {{"a.txt", "hello"}});
  Finish(claimed, Outcome::kSucceeded, {artifact});
  while (reader->Read(&next)) rest.push_back(next);
  grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();

  std::vector<Response> all = rest;
  all.insert(all.begin(), first);
  ExpectGapless(all, 0);
  EXPECT_EQ(rest.back().kind(), Response::FINAL);
  EXPECT_EQ(rest.back().job().state(), v1::Job::SUCCEEDED);
  EXPECT_THAT(rest.back().job().artifacts(),
              testing::ElementsAre("artifacts/" + artifact));
  auto has = [&](Response::Kind kind) {
    return std::any_of(rest.begin(), rest.end(),
                       [&](const Response& r) { return r.kind() == kind; });
  };
  EXPECT_TRUE(has(Response::ATTEMPT) || has(Response::STATE));
  EXPECT_TRUE(has(Response::ARTIFACT));
}

TEST_F(WatchTest, TerminalJobIsSnapshotAndFinal) {
  Start();
  const v1::Job job = CreateJob();
  Cancel(job.name());
  Watched watched = WatchToEnd(job.name());
  EXPECT_TRUE(watched.status.ok());
  ASSERT_EQ(watched.messages.size(), 2);
  EXPECT_EQ(watched.messages[0].kind(), Response::SNAPSHOT);
  EXPECT_EQ(watched.messages[1].kind(), Response::FINAL);
}

TEST_F(WatchTest, ReplaysExactlyWhatCameAfter) {
  Start();
  const v1::Job job = CreateJob();
  for (int i = 0; i < 40; ++i) {
    Cancel(job.name());
    Retry(job.name());
  }
  const int64_t end = Cancel(job.name()).event_sequence();
  ASSERT_GT(end, 64);
  for (int64_t after : {int64_t{1}, int64_t{7}, end - 1, end}) {
    Watched watched = WatchToEnd(job.name(), after);
    EXPECT_TRUE(watched.status.ok());
    ExpectGapless(watched.messages, after);
    ASSERT_EQ(static_cast<int64_t>(watched.messages.size()), end - after + 1);
    EXPECT_EQ(watched.messages.back().kind(), Response::FINAL);
    EXPECT_EQ(watched.messages.back().sequence(), end);
  }
}

TEST_F(WatchTest, CompactedEventsAreReplacedByASnapshot) {
  Start();
  const v1::Job job = CreateJob();
  // The test's queue keeps 200 events.
  for (int i = 0; i < 130; ++i) {
    Cancel(job.name());
    Retry(job.name());
  }
  const int64_t end = Cancel(job.name()).event_sequence();
  Watched watched = WatchToEnd(job.name(), 1);
  EXPECT_TRUE(watched.status.ok());
  ASSERT_EQ(watched.messages.size(), 2);
  EXPECT_EQ(watched.messages[0].kind(), Response::SNAPSHOT);
  EXPECT_TRUE(watched.messages[0].resync());
  EXPECT_EQ(watched.messages[0].sequence(), end);
  EXPECT_EQ(watched.messages[1].kind(), Response::FINAL);
}

TEST_F(WatchTest, HeartbeatsCarryTheLatestSequence) {
  options_.heartbeat_micros = 50'000;
  Start();
  const v1::Job job = CreateJob();
  auto context = Context();
  auto reader = Open(context.get(), job.name(), job.event_sequence());
  Response response;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader->Read(&response));
    EXPECT_EQ(response.kind(), Response::HEARTBEAT);
    EXPECT_EQ(response.sequence(), job.event_sequence());
    EXPECT_GT(response.time().seconds(), 0);
  }
  context->TryCancel();
}

TEST_F(WatchTest, AWatcherThatLeavesCostsNothingAndTouchesNothing) {
  Start();
  const v1::Job job = CreateJob();
  for (int i = 0; i < 20; ++i) {
    auto context = Context();
    auto reader = Open(context.get(), job.name());
    Response response;
    if (i % 2 == 0) {
      ASSERT_TRUE(reader->Read(&response));
    }
    context->TryCancel();
    reader->Finish();
  }
  EXPECT_TRUE(Eventually([&] { return streams_->size() == 0; }));
  auto record = jobs_->Get(job.name().substr(5));
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->event_sequence, job.event_sequence());
}

TEST_F(WatchTest, ManyWatchersSeeTheSame) {
  Start();
  const v1::Job job = CreateJob();
  constexpr int kWatchers = 100;
  std::atomic<int> opened = 0;
  std::vector<Watched> results(kWatchers);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWatchers; ++i) {
    threads.emplace_back([&, i] {
      auto context = Context();
      auto reader = Open(context.get(), job.name());
      Response response;
      while (reader->Read(&response)) {
        if (response.kind() == Response::SNAPSHOT) ++opened;
        results[i].messages.push_back(response);
      }
      results[i].status = reader->Finish();
    });
  }
  EXPECT_TRUE(Eventually([&] { return opened == kWatchers; }));
  for (int i = 0; i < 20; ++i) {
    Cancel(job.name());
    // Those who saw the job end are through; the others go on.
    Retry(job.name());
  }
  const int64_t end = Cancel(job.name()).event_sequence();
  for (std::thread& thread : threads) thread.join();
  for (const Watched& watched : results) {
    EXPECT_TRUE(watched.status.ok()) << watched.status.error_message();
    ExpectGapless(watched.messages, 0);
    ASSERT_FALSE(watched.messages.empty());
    EXPECT_EQ(watched.messages.back().kind(), Response::FINAL);
    EXPECT_LE(watched.messages.back().sequence(), end);
    EXPECT_EQ(watched.messages.back().job().state(), v1::Job::CANCELLED);
  }
}

TEST_F(WatchTest, SlowReaderLosesItsStreamAndReattaches) {
  options_.slow_consumer_micros = 100'000;
  Start();
  const std::string name = EnqueueLarge();
  // A small window that does not grow: what is not read stays at the server.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto stub = v1::JobService::NewStub(
      grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                grpc::InsecureChannelCredentials(), arguments));
  v1::WatchJobRequest request;
  request.set_name(name);
  auto context = Context();
  auto reader = stub->WatchJob(context.get(), request);
  // Nothing is read: the snapshot is stuck, and more than 64 events wait.
  ASSERT_TRUE(Eventually([&] { return streams_->size() == 1; }));
  for (int i = 0; i < 50; ++i) {
    Cancel(name);
    Retry(name);
  }
  EXPECT_TRUE(Eventually([&] {
    // One more change per look, as a running job would make.
    Cancel(name);
    Retry(name);
    return metrics_.Render().find("slow_consumer") != std::string::npos;
  }));
  std::vector<Response> seen;
  Response response;
  while (reader->Read(&response)) seen.push_back(response);
  grpc::Status status = reader->Finish();
  ExpectError(status, grpc::UNAVAILABLE, "SLOW_CONSUMER");
  EXPECT_TRUE(DetailsOf(status).has_retry_info);
  ASSERT_FALSE(seen.empty());
  EXPECT_LE(seen.size(), 66);
  Cancel(name);
  Watched watched = WatchToEnd(name, seen.back().sequence());
  EXPECT_TRUE(watched.status.ok()) << watched.status.error_message();
  ExpectGapless(watched.messages, seen.back().sequence());
}

TEST_F(WatchTest, DrainEndsWatchesWithRetryInfo) {
  Start();
  const v1::Job job = CreateJob();
  auto context = Context();
  auto reader = Open(context.get(), job.name());
  Response response;
  ASSERT_TRUE(reader->Read(&response));
  streams_->DrainAll();
  EXPECT_FALSE(reader->Read(&response));
  grpc::Status status = reader->Finish();
  ExpectError(status, grpc::UNAVAILABLE, "SERVER_DRAINING");
  EXPECT_TRUE(DetailsOf(status).has_retry_info);
}

TEST_F(WatchTest, OldStreamsAreRecycled) {
  options_.watch_max_age_micros = 200'000;
  Start();
  Watched watched = WatchToEnd(CreateJob().name());
  ExpectError(watched.status, grpc::UNAVAILABLE, "STREAM_RECYCLED");
}

TEST_F(WatchTest, StreamsAreLimited) {
  max_streams_ = 2;
  Start();
  const v1::Job job = CreateJob();
  auto one = Context(), two = Context();
  auto first = Open(one.get(), job.name()),
       second = Open(two.get(), job.name());
  Response response;
  ASSERT_TRUE(first->Read(&response));
  ASSERT_TRUE(second->Read(&response));
  Watched third = WatchToEnd(job.name());
  ExpectError(third.status, grpc::RESOURCE_EXHAUSTED, "QUEUE_FULL");
  EXPECT_TRUE(DetailsOf(third.status).has_retry_info);
  one->TryCancel();
  two->TryCancel();
}

TEST_F(WatchTest, ShutdownWithOpenWatchesReturns) {
  Start();
  const v1::Job job = CreateJob();
  auto context = Context();
  auto reader = Open(context.get(), job.name());
  Response response;
  ASSERT_TRUE(reader->Read(&response));
  const auto begin = std::chrono::steady_clock::now();
  server_->Shutdown(200'000);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace quant

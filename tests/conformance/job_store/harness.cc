#include "tests/conformance/job_store/harness.h"

#include <chrono>
#include <cstdlib>
#include <future>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "server/queue/memory_job_store.h"
#include "server/queue/sqlite_job_store.h"

namespace quant::testing {

TempDirectory::TempDirectory() {
  const char* root = std::getenv("TMPDIR");
  std::string pattern =
      absl::StrCat(root != nullptr ? root : "/tmp", "/quant-queue-XXXXXX");
  path_ = ::mkdtemp(pattern.data());
}

TempDirectory::~TempDirectory() { RemoveTree(path_).IgnoreError(); }

absl::StatusOr<JobRecord> Await(const std::function<void(JobCallback)>& start) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<JobRecord>>>();
  std::future<absl::StatusOr<JobRecord>> future = promise->get_future();
  start([promise](absl::StatusOr<JobRecord> answer) {
    promise->set_value(std::move(answer));
  });
  return future.get();
}

bool Eventually(const std::function<bool()>& holds) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

absl::StatusOr<JobRecord> Queue::Enqueue(EnqueueRequest request) {
  return Await([&](JobCallback done) {
    store_->Enqueue(std::move(request), std::move(done));
  });
}

absl::StatusOr<JobRecord> Queue::Claim(const std::string& owner) {
  return Await(
      [&](JobCallback done) { store_->Claim(owner, std::move(done)); });
}

absl::StatusOr<JobRecord> Queue::Heartbeat(const JobRecord& job) {
  return Await([&](JobCallback done) {
    store_->Heartbeat(job.id, job.lease_token, std::move(done));
  });
}

absl::StatusOr<JobRecord> Queue::Finish(FinishRequest request) {
  return Await([&](JobCallback done) {
    store_->Finish(std::move(request), std::move(done));
  });
}

absl::StatusOr<JobRecord> Queue::End(const JobRecord& job, Outcome outcome) {
  FinishRequest request;
  request.id = job.id;
  request.lease_token = job.lease_token;
  request.outcome = outcome;
  return Finish(std::move(request));
}

absl::StatusOr<JobRecord> Queue::Cancel(const std::string& id,
                                        const std::string& etag) {
  return Await([&](JobCallback done) {
    store_->RequestCancel(id, etag, std::move(done));
  });
}

absl::StatusOr<JobRecord> Queue::Retry(const std::string& id,
                                       const std::string& etag,
                                       int64_t max_open_jobs) {
  return Await([&](JobCallback done) {
    store_->Retry(id, etag, max_open_jobs, std::move(done));
  });
}

absl::StatusOr<QueueControl> Queue::SetMode(QueueMode mode,
                                            const std::string& principal) {
  std::promise<absl::StatusOr<QueueControl>> promise;
  store_->SetMode(mode, principal, [&](absl::StatusOr<QueueControl> answer) {
    promise.set_value(std::move(answer));
  });
  return promise.get_future().get();
}

absl::StatusOr<JobRecord> Queue::Delete(const std::string& id,
                                        const std::string& etag) {
  return Await(
      [&](JobCallback done) { store_->Delete(id, etag, std::move(done)); });
}

std::vector<JobEvent> Queue::AllEvents(const std::string& id) {
  auto events = store_->Events(id, 0, 1'000'000);
  EXPECT_TRUE(events.ok()) << events.status();
  if (!events.ok()) return {};
  EXPECT_TRUE(events->has_value()) << "compacted";
  return events->value_or(std::vector<JobEvent>());
}

void JobStoreTest::SetUp() { Restart(options_); }

void JobStoreTest::TearDown() {
  if (store_ != nullptr) store_->Stop();
}

void JobStoreTest::Restart(const QueueOptions& options) {
  if (GetParam() == "memory") {
    store_ = MakeMemoryJobStore(options, clock_);
  } else {
    auto opened = OpenSqliteJobStore(
        {.path = absl::StrCat(directory_.path(), "/", ++stores_made_, ".db"),
         .options = options,
         .clock = &clock_});
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }
  queue_ = Queue(store_.get());
}

JobRecord JobStoreTest::Running(EnqueueRequest request) {
  absl::StatusOr<JobRecord> queued = queue_.Enqueue(std::move(request));
  EXPECT_TRUE(queued.ok()) << queued.status();
  absl::StatusOr<JobRecord> claimed = queue_.Claim();
  EXPECT_TRUE(claimed.ok()) << claimed.status();
  EXPECT_EQ(claimed->id, queued->id);
  return *claimed;
}

JobRecord JobStoreTest::InState(JobState state) {
  if (state == JobState::kQueued) return *queue_.Enqueue();
  JobRecord running = Running();
  switch (state) {
    case JobState::kSucceeded:
      return *queue_.End(running, Outcome::kSucceeded);
    case JobState::kFailed:
      return *queue_.End(running, Outcome::kPermanentFailure);
    case JobState::kCancelling:
      return *queue_.Cancel(running.id);
    case JobState::kCancelled:
      EXPECT_TRUE(queue_.Cancel(running.id).ok());
      return *queue_.End(running, Outcome::kCancelled);
    default:
      return running;
  }
}

}  // namespace quant::testing

// Many threads at once: idempotent creation, races, one claim per job.
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using absl::StatusCode;

// Runs `body(0..count-1)` at once and waits for all.
void InParallel(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

class Concurrency : public JobStoreTest {};
QUANT_FOR_EACH_JOB_STORE(Concurrency);

TEST_P(Concurrency, OneRequestIdMakesOneJob) {
  std::mutex mutex;
  std::set<std::string> ids;
  std::atomic<int> answered{0};
  InParallel(8, [&](int) {
    for (int i = 0; i < 25; ++i) {
      store_->Enqueue(
          {.spec = "s", .request_id = "request", .request_digest = "digest"},
          [&](absl::StatusOr<JobRecord> job) {
            std::lock_guard lock(mutex);
            if (job.ok()) ids.insert(job->id);
            ++answered;
          });
    }
  });
  ASSERT_TRUE(Eventually([&] { return answered == 200; }));
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_EQ(store_->Stats().repeats, 199);
  EXPECT_EQ(store_->List({.limit = 10})->size(), 1u);
  EXPECT_EQ(store_->Stats().jobs[JobState::kQueued], 1);
}

TEST_P(Concurrency, RequestIdReusedForAnotherRequest) {
  EnqueueRequest request{
      .spec = "s", .request_id = "request", .request_digest = "one"};
  JobRecord job = *queue_.Enqueue(request);
  request.request_digest = "two";
  EXPECT_REASON(queue_.Enqueue(request), StatusCode::kInvalidArgument,
                Reason::kRequestIdReused);
  request.request_digest = "one";
  ASSERT_TRUE(queue_.Cancel(job.id).ok());
  EXPECT_EQ(queue_.Enqueue(request)->state, JobState::kCancelled);
  // A repeat of a deleted job's request must not make a second job.
  ASSERT_TRUE(queue_.Delete(job.id).ok());
  EXPECT_REASON(queue_.Enqueue(request), StatusCode::kNotFound,
                Reason::kJobNotFound);
}

TEST_P(Concurrency, RequestIdsExpire) {
  EnqueueRequest request{
      .spec = "s", .request_id = "request", .request_digest = "one"};
  std::string first = queue_.Enqueue(request)->id;
  clock_.Advance(options_.request_id_ttl_micros - 1);
  EXPECT_EQ(queue_.Enqueue(request)->id, first);
  clock_.Advance(1);
  request.request_digest = "two";
  auto second = queue_.Enqueue(request);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(second->id, first);
}

TEST_P(Concurrency, ABadCommandDoesNotFailItsNeighbours) {
  std::atomic<int> good{0}, refused{0};
  for (int i = 0; i < 300; ++i) {
    store_->Enqueue(
        {.spec = "s", .max_attempts = i % 3 == 0 ? 0 : 5},
        [&](absl::StatusOr<JobRecord> job) { ++(job.ok() ? good : refused); });
  }
  ASSERT_TRUE(Eventually([&] { return good + refused == 300; }));
  EXPECT_EQ(good, 200);
  EXPECT_EQ(store_->Stats().jobs[JobState::kQueued], 200);
}

TEST_P(Concurrency, EachJobIsClaimedOnce) {
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(queue_.Enqueue().ok());
  std::mutex mutex;
  std::set<std::string> ids, tokens;
  int claims = 0;
  InParallel(8, [&](int thread) {
    while (true) {
      auto job = queue_.Claim(absl::StrCat("node", thread));
      if (!job.ok()) return;
      std::lock_guard lock(mutex);
      ++claims;
      ids.insert(job->id);
      tokens.insert(job->lease_token);
    }
  });
  EXPECT_EQ(claims, 200);
  EXPECT_EQ(ids.size(), 200u);
  EXPECT_EQ(tokens.size(), 200u);
}

// However the race ends, one terminal state stands, the events lead to it, and
// the artifacts match it.
TEST_P(Concurrency, CancelRacesFinish) {
  int cancelled = 0;
  constexpr int kRounds = 150;
  for (int round = 0; round < kRounds; ++round) {
    JobRecord job = Running();
    std::atomic<int> finishes{0};
    InParallel(4, [&](int thread) {
      if (thread % 2 == 0) {
        EXPECT_TRUE(queue_.Cancel(job.id).ok());
        return;
      }
      FinishRequest request;
      request.id = job.id;
      request.lease_token = job.lease_token;
      request.outcome =
          thread == 1 ? Outcome::kSucceeded : Outcome::kRetryableFailure;
      request.artifacts = {"a"};
      if (queue_.Finish(request).ok()) ++finishes;
    });
    EXPECT_EQ(finishes, 1);
    JobRecord end = *store_->Get(job.id);
    if (end.state == JobState::kQueued) {
      // The failure came first and the cancellations before it: not possible.
      ADD_FAILURE() << "a cancelled job went back to the queue";
    }
    ASSERT_TRUE(IsTerminal(end.state)) << JobStateName(end.state);
    EXPECT_EQ(end.artifacts.empty(), end.state != JobState::kSucceeded);
    std::vector<JobEvent> events = queue_.AllEvents(job.id);
    EXPECT_EQ(events.back().state, end.state);
    int terminal =
        std::count_if(events.begin(), events.end(), [](const JobEvent& event) {
          return event.kind == EventKind::kState && IsTerminal(event.state);
        });
    EXPECT_EQ(terminal, 1);
    cancelled += end.state == JobState::kCancelled;
  }
  RecordProperty("cancelled", cancelled);
}

TEST_P(Concurrency, EventsAreGaplessUnderConcurrency) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(queue_.Enqueue()->id);
  InParallel(8, [&](int thread) {
    for (int i = 0; i < 40; ++i) {
      const std::string& id = ids[(thread + i) % ids.size()];
      switch ((thread + i) % 4) {
        case 0:
          (void)queue_.Cancel(id);
          break;
        case 1:
          (void)queue_.Retry(id);
          break;
        default:
          if (auto job = queue_.Claim(); job.ok()) {
            (void)queue_.End(*job, Outcome::kDrained);
          }
      }
    }
  });
  for (const std::string& id : ids) {
    std::vector<JobEvent> events = queue_.AllEvents(id);
    for (size_t i = 0; i < events.size(); ++i) {
      ASSERT_EQ(events[i].sequence, static_cast<int64_t>(i) + 1);
    }
    EXPECT_EQ(store_->Get(id)->event_sequence,
              static_cast<int64_t>(events.size()));
    EXPECT_EQ(store_->Get(id)->state, events.back().state);
  }
}

TEST_P(Concurrency, ReadersNeverSeeTimeGoBack) {
  std::string id = queue_.Enqueue()->id;
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      int64_t last = 0;
      while (!stop) {
        int64_t now = store_->Get(id)->event_sequence;
        EXPECT_GE(now, last);
        last = now;
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    JobRecord job = *queue_.Claim();
    // What was answered is what is read.
    EXPECT_EQ(store_->Get(id)->event_sequence, job.event_sequence);
    ASSERT_TRUE(queue_.End(job, Outcome::kDrained).ok());
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace quant::testing

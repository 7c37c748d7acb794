// Watchers: who is told what, and who is not told any more. Progress.
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

class Watch : public JobStoreTest {};
QUANT_FOR_EACH_JOB_STORE(Watch);

TEST_P(Watch, DurableChangesAndProgress) {
  JobRecord job = *queue_.Enqueue();
  std::atomic<int> durable{0}, others{0};
  std::mutex mutex;
  std::string progress;
  uint64_t handle =
      store_->Subscribe(job.id, [&](const JobStore::Change& change) {
        if (change.durable) {
          ++durable;
          return;
        }
        std::lock_guard lock(mutex);
        progress = change.progress;
      });
  uint64_t other =
      store_->Subscribe("another", [&](const JobStore::Change&) { ++others; });
  job = *queue_.Claim();
  EXPECT_TRUE(Eventually([&] { return durable >= 1; }));
  store_->Progress(job.id, job.lease_token, "half");
  EXPECT_TRUE(Eventually([&] {
    std::lock_guard lock(mutex);
    return progress == "half";
  }));
  int before = durable;
  ASSERT_TRUE(queue_.End(job, Outcome::kSucceeded).ok());
  EXPECT_TRUE(Eventually([&] { return durable > before; }));
  before = durable;
  ASSERT_TRUE(queue_.Delete(job.id).ok());
  EXPECT_TRUE(Eventually([&] { return durable > before; }));
  EXPECT_EQ(others, 0);
  store_->Unsubscribe(handle);
  store_->Unsubscribe(other);
  store_->Unsubscribe(other);  // harmless
  store_->Unsubscribe(12345);
}

TEST_P(Watch, NoCallAfterUnsubscribe) {
  std::string id = queue_.Enqueue()->id;
  for (int round = 0; round < 100; ++round) {
    auto alive = std::make_unique<std::atomic<bool>>(true);
    std::atomic<bool>* watched = alive.get();
    uint64_t handle = store_->Subscribe(
        id, [watched](const JobStore::Change&) { EXPECT_TRUE(*watched); });
    std::thread writer([&] {
      if (auto job = queue_.Claim(); job.ok()) {
        EXPECT_TRUE(queue_.End(*job, Outcome::kDrained).ok());
      }
    });
    store_->Unsubscribe(handle);
    *watched = false;
    alive.reset();  // a late call would touch freed memory
    writer.join();
  }
}

TEST_P(Watch, UnsubscribeFromInsideAnyListener) {
  JobRecord job = *queue_.Enqueue();
  std::atomic<uint64_t> first{0}, second{0};
  std::atomic<int> calls{0};
  // Each takes both away, itself included.
  auto listener = [&](const JobStore::Change&) {
    ++calls;
    store_->Unsubscribe(first);
    store_->Unsubscribe(second);
  };
  first = store_->Subscribe(job.id, listener);
  second = store_->Subscribe(job.id, listener);
  ASSERT_TRUE(queue_.Cancel(job.id).ok());
  EXPECT_TRUE(Eventually([&] { return calls >= 1; }));
  ASSERT_TRUE(queue_.Retry(job.id).ok());
  ASSERT_TRUE(queue_.Cancel(job.id).ok());
  EXPECT_EQ(calls, 1);
}

TEST_P(Watch, SubscribeFromInsideAListener) {
  JobRecord job = *queue_.Enqueue();
  std::atomic<int> inner{0};
  std::atomic<uint64_t> added{0};
  uint64_t outer = store_->Subscribe(job.id, [&](const JobStore::Change&) {
    if (added != 0) return;
    added =
        store_->Subscribe(job.id, [&](const JobStore::Change&) { ++inner; });
  });
  ASSERT_TRUE(queue_.Cancel(job.id).ok());
  EXPECT_TRUE(Eventually([&] { return added != 0; }));
  ASSERT_TRUE(queue_.Retry(job.id).ok());
  EXPECT_TRUE(Eventually([&] { return inner > 0; }));
  store_->Unsubscribe(outer);
  store_->Unsubscribe(added);
}

TEST_P(Watch, ClaimableIsTold) {
  std::atomic<int> told{0};
  store_->SetClaimableListener([&] { ++told; });
  auto told_after = [&](const std::function<void()>& act) {
    int before = told;
    act();
    return Eventually([&] { return told > before; });
  };
  EXPECT_TRUE(told_after([&] { ASSERT_TRUE(queue_.Enqueue().ok()); }));
  JobRecord job = *queue_.Claim();
  EXPECT_TRUE(told_after(
      [&] { ASSERT_TRUE(queue_.End(job, Outcome::kDrained).ok()); }));
  job = *queue_.Claim();
  EXPECT_TRUE(told_after([&] { EXPECT_EQ(*store_->ReleaseOwner("node"), 1); }));
  job = *queue_.Claim();
  ASSERT_TRUE(queue_.End(job, Outcome::kPermanentFailure).ok());
  EXPECT_TRUE(told_after([&] { ASSERT_TRUE(queue_.Retry(job.id).ok()); }));
  // The end of a backoff makes a job claimable, too.
  job = *queue_.Claim();
  ASSERT_TRUE(queue_.End(job, Outcome::kRetryableFailure).ok());
  EXPECT_TRUE(told_after([&] { clock_.Advance(options_.backoff_max_micros); }));
  EXPECT_EQ(queue_.Claim()->id, job.id);
  store_->SetClaimableListener(nullptr);
}

TEST_P(Watch, ProgressIsReadAtOnceAndStays) {
  JobRecord job = Running();
  for (int i = 0; i < 100; ++i) {
    std::string text = std::to_string(i);
    store_->Progress(job.id, job.lease_token, text);
    EXPECT_EQ(store_->Get(job.id)->progress, text);
    EXPECT_EQ(store_->List({.limit = 1})->at(0).progress, text);
  }
  EXPECT_EQ(store_->Get(job.id)->event_sequence, job.event_sequence);
  EXPECT_EQ(queue_.Heartbeat(job)->progress, "99");
  ASSERT_TRUE(queue_.End(job, Outcome::kSucceeded).ok());
  EXPECT_EQ(store_->Get(job.id)->progress, "99");
}

TEST_P(Watch, ProgressIsWrittenAtMostOnceASecond) {
  JobRecord job = Running();
  int64_t before = store_->Stats().commits;
  auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] { return std::chrono::steady_clock::now() - start; };
  int reports = 0;
  while (elapsed() < std::chrono::milliseconds(1200)) {
    store_->Progress(job.id, job.lease_token, std::to_string(++reports));
    std::this_thread::yield();
  }
  EXPECT_TRUE(Eventually([&] { return store_->Stats().commits > before; }));
  // At most one now, and one for each full second since.
  int64_t seconds =
      std::chrono::duration_cast<std::chrono::seconds>(elapsed()).count();
  EXPECT_LE(store_->Stats().commits - before, 1 + seconds + 1);
  EXPECT_GT(reports, 10);
}

TEST_P(Watch, ProgressOfAnAttemptNeverGoesBack) {
  for (int round = 0; round < 30; ++round) {
    JobRecord job = Running();
    std::atomic<bool> stop{false};
    std::thread reader([&] {
      int last = -1;
      while (!stop) {
        JobRecord seen = *store_->Get(job.id);
        if (seen.progress.empty()) continue;
        int now = std::stoi(seen.progress);
        EXPECT_GE(now, last);
        last = now;
      }
    });
    for (int i = 0; i < 50; ++i) {
      store_->Progress(job.id, job.lease_token, std::to_string(i));
    }
    EXPECT_TRUE(queue_.End(job, Outcome::kSucceeded).ok());
    stop = true;
    reader.join();
  }
}

}  // namespace
}  // namespace quant::testing

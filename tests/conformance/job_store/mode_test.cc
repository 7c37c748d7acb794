// The queue's mode, estimates, and jobs whose time is over.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/error.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using absl::StatusCode;

class Modes : public JobStoreTest {};
QUANT_FOR_EACH_JOB_STORE(Modes);

TEST_P(Modes, NothingIsClaimedUnlessTheQueueIsOpen) {
  EXPECT_EQ(store_->Control().mode, QueueMode::kOpen);
  EXPECT_EQ(store_->Control().time, 0);
  const JobRecord running = Running();
  const std::string waiting = queue_.Enqueue()->id;
  for (QueueMode mode : {QueueMode::kPaused, QueueMode::kDraining}) {
    clock_.Advance(kSecond);
    const auto control = queue_.SetMode(mode, "op");
    ASSERT_TRUE(control.ok()) << control.status();
    EXPECT_EQ(control->mode, mode);
    EXPECT_EQ(control->principal, "op");
    EXPECT_EQ(control->time, clock_.NowMicros());
    EXPECT_EQ(store_->Control().mode, mode);
    EXPECT_REASON(queue_.Claim(), StatusCode::kNotFound, Reason::kJobNotFound);
    EXPECT_EQ(store_->Place(waiting)->position, 0);
    EXPECT_TRUE(queue_.Heartbeat(running).ok()) << "what runs goes on";
    EXPECT_TRUE(queue_.Enqueue().ok()) << "jobs are taken in";
  }
  EXPECT_EQ(queue_.End(running, Outcome::kSucceeded)->state,
            JobState::kSucceeded);
  ASSERT_TRUE(queue_.SetMode(QueueMode::kOpen).ok());
  EXPECT_EQ(queue_.Claim()->id, waiting);
}

TEST_P(Modes, TheSameModeAgainChangesNothing) {
  const QueueControl first = *queue_.SetMode(QueueMode::kPaused, "a");
  const int64_t commits = store_->Stats().commits;
  clock_.Advance(kSecond);
  const QueueControl second = *queue_.SetMode(QueueMode::kPaused, "b");
  EXPECT_EQ(second.principal, "a");
  EXPECT_EQ(second.time, first.time);
  EXPECT_EQ(store_->Stats().commits, commits);
}

TEST_P(Modes, WorkersAreToldOfEachChange) {
  std::atomic<int> told{0};
  store_->SetClaimableListener([&] { ++told; });
  ASSERT_TRUE(queue_.SetMode(QueueMode::kDraining).ok());
  EXPECT_TRUE(Eventually([&] { return told > 0; }));
  const int before = told;
  ASSERT_TRUE(queue_.SetMode(QueueMode::kOpen).ok());
  EXPECT_TRUE(Eventually([&] { return told > before; }));
  store_->SetClaimableListener(nullptr);
}

TEST_P(Modes, EstimatesFollowHowLongAttemptsTake) {
  EXPECT_EQ(store_->Stats().mean_attempt_micros, 0);
  for (int seconds : {50, 70}) {
    const JobRecord job = Running();
    clock_.Advance(seconds * kSecond);
    ASSERT_TRUE(queue_.End(job, Outcome::kSucceeded).ok());
  }
  // Neither a drain nor a retry says how long a job takes.
  const JobRecord drained = Running();
  ASSERT_TRUE(queue_.End(drained, Outcome::kDrained).ok());
  ASSERT_TRUE(queue_.Cancel(drained.id).ok());
  EXPECT_EQ(store_->Stats().mean_attempt_micros, 60 * kSecond);

  Running();
  clock_.Advance(20 * kSecond);
  Running();
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(queue_.Enqueue()->id);
  const int64_t now = clock_.NowMicros();
  // Two side by side: one has 40 s left, the other 60.
  const int64_t expected[] = {40, 60, 100, 120};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(store_->Place(ids[i])->estimated_start,
              now + expected[i] * kSecond);
  }
  clock_.Advance(50 * kSecond);
  EXPECT_EQ(store_->Place(ids[0])->estimated_start, clock_.NowMicros())
      << "any moment";
  ASSERT_TRUE(queue_.SetMode(QueueMode::kPaused).ok());
  EXPECT_EQ(store_->Place(ids[0])->estimated_start, 0) << "nobody knows";
}

TEST_P(Modes, WithoutWorkersNothingIsEstimated) {
  const JobRecord job = Running();
  clock_.Advance(kSecond);
  ASSERT_TRUE(queue_.End(job, Outcome::kSucceeded).ok());
  EXPECT_EQ(store_->Place(queue_.Enqueue()->id)->estimated_start, 0);
}

TEST_P(Modes, ExpiredByTheirOwnRetentionOrTheServers) {
  const auto expired = [&](int64_t retention) {
    std::vector<std::string> ids;
    const auto jobs = store_->Expired({.retention = retention});
    EXPECT_TRUE(jobs.ok()) << jobs.status();
    for (const JobRecord& job : *jobs) ids.push_back(job.id);
    std::sort(ids.begin(), ids.end());  // their order means nothing
    return ids;
  };
  using Ids = std::vector<std::string>;
  const JobRecord silent = Running();
  const JobRecord own = Running({.spec = "s", .retention = 10 * kSecond});
  EXPECT_EQ(expired(1), Ids()) << "they run";
  ASSERT_TRUE(queue_.End(silent, Outcome::kSucceeded).ok());
  const auto ended = queue_.End(own, Outcome::kPermanentFailure);
  EXPECT_EQ(ended->expire_time, clock_.NowMicros() + 10 * kSecond);
  clock_.Advance(10 * kSecond - 1);
  EXPECT_EQ(expired(0), Ids());
  clock_.Advance(1);
  EXPECT_EQ(expired(0), Ids{own.id});
  EXPECT_EQ(expired(11 * kSecond), Ids{own.id});
  EXPECT_EQ(expired(10 * kSecond), (Ids{silent.id, own.id}));
  // In pages, each after the last of the one before.
  const auto first = store_->Expired({.retention = 1, .limit = 1});
  ASSERT_EQ(first->size(), 1u);
  ExpiredQuery rest = {.retention = 1, .limit = 10, .after = &first->back()};
  const auto second = store_->Expired(rest);
  ASSERT_EQ(second->size(), 1u);
  EXPECT_NE(second->back().id, first->back().id);
  rest.after = &second->back();
  EXPECT_TRUE(store_->Expired(rest)->empty());
  ASSERT_TRUE(queue_.Retry(own.id).ok());
  EXPECT_EQ(store_->Get(own.id)->expire_time, 0);
  EXPECT_EQ(expired(0), Ids());
}

TEST_P(Modes, ARetryCountsAsAnOpenJobOfWhoMadeIt) {
  const JobOwner owner = {.tenant = "t", .principal = "p"};
  const JobRecord failed = Running({.spec = "s", .owner = owner});
  ASSERT_TRUE(queue_.End(failed, Outcome::kPermanentFailure).ok());
  const JobRecord open = *queue_.Enqueue({.spec = "s", .owner = owner});
  EXPECT_REASON(queue_.Retry(failed.id, "", 1), StatusCode::kResourceExhausted,
                Reason::kQuotaExceeded);
  EXPECT_TRUE(queue_.Retry(open.id, "", 1).ok()) << "it is open already";
  EXPECT_TRUE(queue_.Retry(failed.id, "", 2).ok());
}

TEST_P(Modes, ACheckStoresNothing) {
  EnqueueRequest request = {.spec = "s",
                            .request_id = "r",
                            .request_digest = "d",
                            .priority = 3,
                            .validate_only = true};
  const auto checked = queue_.Enqueue(request);
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->id, "");
  EXPECT_EQ(checked->priority, 3);
  EXPECT_EQ(store_->Stats().jobs[JobState::kQueued], 0);
  request.refusal = absl::ResourceExhaustedError("no room");
  EXPECT_EQ(queue_.Enqueue(request).status().message(), "no room");
  request.refusal = absl::OkStatus();
  request.validate_only = false;
  const std::string id = queue_.Enqueue(request)->id;
  // A repeat is found before anything speaks against a new job.
  for (bool validate_only : {true, false}) {
    request.validate_only = validate_only;
    request.refusal = absl::ResourceExhaustedError("no room");
    request.max_open_jobs = 1;
    EXPECT_EQ(queue_.Enqueue(request)->id, id);
  }
  request.validate_only = true;
  request.request_id = "another";
  request.refusal = absl::OkStatus();
  EXPECT_REASON(queue_.Enqueue(request), StatusCode::kResourceExhausted,
                Reason::kQuotaExceeded);
}

}  // namespace
}  // namespace quant::testing

// What becomes of a job whose attempts fail, crash, drain or fall silent.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

class Attempts : public JobStoreTest {
 protected:
  // Claims the one job there is, however long its backoff.
  JobRecord ClaimLater() {
    clock_.Advance(2 * options_.backoff_max_micros);
    absl::StatusOr<JobRecord> job = queue_.Claim();
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : JobRecord();
  }

  JobRecord Crash(const JobRecord& job, bool journal_advanced) {
    FinishRequest request;
    request.id = job.id;
    request.lease_token = job.lease_token;
    request.outcome = Outcome::kCrashed;
    request.error = "died";
    request.journal_advanced = journal_advanced;
    absl::StatusOr<JobRecord> ended = queue_.Finish(request);
    EXPECT_TRUE(ended.ok()) << ended.status();
    return *ended;
  }
};
QUANT_FOR_EACH_JOB_STORE(Attempts);

TEST_P(Attempts, PermanentFailureIsNotRetried) {
  JobRecord job = Running();
  FinishRequest request;
  request.id = job.id;
  request.lease_token = job.lease_token;
  request.outcome = Outcome::kPermanentFailure;
  request.reason = "MODEL_MALFORMED";
  request.error = "status bytes";
  auto failed = queue_.Finish(request);
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_EQ(failed->state, JobState::kFailed);
  EXPECT_EQ(failed->state_reason, "MODEL_MALFORMED");
  EXPECT_EQ(failed->error, "status bytes");
}

TEST_P(Attempts, AFailedGateKeepsTheArtifacts) {
  JobRecord job = Running();
  FinishRequest request;
  request.id = job.id;
  request.lease_token = job.lease_token;
  request.outcome = Outcome::kGateFailed;
  request.result = "result";
  request.artifacts = {"a"};
  auto failed = queue_.Finish(request);
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_EQ(failed->state, JobState::kFailed);
  EXPECT_EQ(failed->state_reason, "GATE_FAILED");
  EXPECT_EQ(failed->artifacts, std::vector<std::string>{"a"});
}

TEST_P(Attempts, RetryableFailuresUseUpTheBudget) {
  JobRecord job = Running({.spec = "s", .max_attempts = 3});
  for (int attempt = 1; attempt < 3; ++attempt) {
    auto queued = queue_.End(job, Outcome::kRetryableFailure);
    ASSERT_TRUE(queued.ok()) << queued.status();
    EXPECT_EQ(queued->state, JobState::kQueued);
    EXPECT_EQ(queued->state_reason, "RETRYING");
    job = ClaimLater();
    EXPECT_EQ(job.attempt, attempt + 1);
  }
  auto failed = queue_.End(job, Outcome::kRetryableFailure);
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_EQ(failed->state, JobState::kFailed);
  EXPECT_EQ(failed->state_reason, "ATTEMPTS_EXHAUSTED");

  // A retry brings a fresh budget; attempts go on counting.
  ASSERT_TRUE(queue_.Retry(job.id).ok());
  for (int attempt = 4; attempt <= 6; ++attempt) {
    job = ClaimLater();
    EXPECT_EQ(job.attempt, attempt);
    failed = queue_.End(job, Outcome::kRetryableFailure);
  }
  EXPECT_EQ(failed->state_reason, "ATTEMPTS_EXHAUSTED");
}

TEST_P(Attempts, BackoffGrowsWithJitterAndDelaysTheClaim) {
  options_.backoff_base_micros = 5 * kSecond;
  options_.backoff_max_micros = 60 * kSecond;
  Restart(options_);
  JobRecord job = Running({.spec = "s", .max_attempts = 8});
  std::set<int64_t> jitters;
  for (int failures = 1; failures < 8; ++failures) {
    auto queued = queue_.End(job, Outcome::kRetryableFailure);
    ASSERT_TRUE(queued.ok()) << queued.status();
    double wanted = std::min(5.0 * std::pow(2, failures - 1), 60.0) * kSecond;
    int64_t delay = queued->run_after - clock_.NowMicros();
    EXPECT_GE(delay, wanted * 0.8 - 1);
    EXPECT_LE(delay, wanted * 1.2 + 1);
    jitters.insert(static_cast<int64_t>(delay * 1000 / wanted));
    clock_.Advance(delay - 1);
    EXPECT_FALSE(queue_.Claim().ok());
    clock_.Advance(1);
    job = *queue_.Claim();
  }
  EXPECT_GT(jitters.size(), 3u);
}

TEST_P(Attempts, ThreeCrashesInARowPoison) {
  JobRecord job = Running();
  EXPECT_EQ(Crash(job, false).state, JobState::kQueued);
  EXPECT_EQ(Crash(ClaimLater(), false).state, JobState::kQueued);
  JobRecord poisoned = Crash(ClaimLater(), false);
  EXPECT_EQ(poisoned.state, JobState::kFailed);
  EXPECT_EQ(poisoned.state_reason, "POISON");
  EXPECT_EQ(poisoned.error, "died");
}

TEST_P(Attempts, AJournalLineBreaksTheRowAndCostsNoAttempt) {
  JobRecord job = Running({.spec = "s", .max_attempts = 5});
  Crash(job, false);
  Crash(ClaimLater(), false);
  for (int i = 0; i < 20; ++i) {
    JobRecord queued = Crash(ClaimLater(), true);
    ASSERT_EQ(queued.state, JobState::kQueued) << i;
    EXPECT_EQ(queued.crashes_in_a_row, 0);
  }
  Crash(ClaimLater(), false);
  Crash(ClaimLater(), false);
  EXPECT_EQ(Crash(ClaimLater(), false).state_reason, "POISON");
}

TEST_P(Attempts, LostServersDoNotPoison) {
  JobRecord job = Running();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(*store_->ReleaseOwner("node"), 1);
    JobRecord queued = *store_->Get(job.id);
    EXPECT_EQ(queued.state, JobState::kQueued);
    EXPECT_EQ(queued.crashes_in_a_row, 0);
    EXPECT_EQ(queued.attempt, 0);
    EXPECT_EQ(queue_.Claim()->id, job.id);
  }
}

TEST_P(Attempts, SilentAttemptsPoison) {
  JobRecord job = Running();
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(options_.lease_ttl_micros);
    EXPECT_EQ(*store_->ExpireLeases(), 1);
    if (i < 2) job = ClaimLater();
  }
  EXPECT_EQ(store_->Get(job.id)->state_reason, "POISON");
}

TEST_P(Attempts, ADrainedAttemptIsGivenBack) {
  JobRecord job = Running({.spec = "s", .max_attempts = 1});
  for (int i = 0; i < 5; ++i) {
    auto drained = queue_.End(job, Outcome::kDrained);
    ASSERT_TRUE(drained.ok()) << drained.status();
    EXPECT_EQ(drained->state, JobState::kQueued);
    EXPECT_EQ(drained->state_reason, "DRAINED");
    EXPECT_EQ(drained->attempt, 0);
    auto claimed = queue_.Claim();  // due at once
    ASSERT_TRUE(claimed.ok()) << claimed.status();
    job = *claimed;
  }
}

TEST_P(Attempts, ReleaseTouchesOnlyItsOwners) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue_.Enqueue().ok());
  JobRecord mine = *queue_.Claim("me");
  JobRecord theirs = *queue_.Claim("them");
  JobRecord others = *queue_.Claim("others");
  ASSERT_TRUE(queue_.Cancel(others.id).ok());
  EXPECT_EQ(*store_->ReleaseOwner("nobody"), 0);
  EXPECT_EQ(*store_->ReleaseAllBut("me"), 2);
  EXPECT_EQ(store_->Get(mine.id)->state, JobState::kRunning);
  EXPECT_EQ(store_->Get(theirs.id)->state, JobState::kQueued);
  EXPECT_EQ(store_->Get(others.id)->state, JobState::kCancelled);
  EXPECT_EQ(*store_->ReleaseOwner("me"), 1);
}

}  // namespace
}  // namespace quant::testing

// A job's way through its states, one write at a time.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using absl::StatusCode;

class Lifecycle : public JobStoreTest {};
QUANT_FOR_EACH_JOB_STORE(Lifecycle);

TEST_P(Lifecycle, QueuedRunningSucceeded) {
  auto queued = queue_.Enqueue({.spec = "the spec", .labels = {{"a", "b"}}});
  ASSERT_TRUE(queued.ok()) << queued.status();
  EXPECT_EQ(queued->id.size(), 26u);
  EXPECT_EQ(queued->state, JobState::kQueued);
  EXPECT_EQ(queued->attempt, 0);
  EXPECT_EQ(queued->create_time, clock_.NowMicros());

  clock_.Advance(kSecond);
  auto running = queue_.Claim("node-1");
  ASSERT_TRUE(running.ok()) << running.status();
  EXPECT_EQ(running->state, JobState::kRunning);
  EXPECT_EQ(running->spec, "the spec");
  EXPECT_EQ(running->attempt, 1);
  EXPECT_EQ(running->lease_owner, "node-1");
  EXPECT_EQ(running->lease_until,
            clock_.NowMicros() + options_.lease_ttl_micros);
  EXPECT_EQ(running->start_time, clock_.NowMicros());

  clock_.Advance(kSecond);
  FinishRequest finish;
  finish.id = running->id;
  finish.lease_token = running->lease_token;
  finish.result = "numbers";
  finish.artifacts = {"artifact-1", "artifact-2"};
  finish.gates = {"gate"};
  auto done = queue_.Finish(finish);
  ASSERT_TRUE(done.ok()) << done.status();

  auto read = store_->Get(queued->id);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->state, JobState::kSucceeded);
  EXPECT_EQ(read->result, "numbers");
  EXPECT_EQ(read->artifacts, finish.artifacts);
  EXPECT_EQ(read->labels, (std::map<std::string, std::string>{{"a", "b"}}));
  EXPECT_EQ(read->end_time, clock_.NowMicros());
  EXPECT_EQ(read->lease_token, "");
  // queued, running, attempt, gate, 2 artifacts, succeeded
  EXPECT_EQ(read->event_sequence, 7);
}

TEST_P(Lifecycle, NothingToClaim) {
  EXPECT_REASON(queue_.Claim(), StatusCode::kNotFound, Reason::kJobNotFound);
}

TEST_P(Lifecycle, UnknownIds) {
  for (std::string id : {"", "x", "../../etc", "00000000000000000000000000"}) {
    EXPECT_REASON(store_->Get(id), StatusCode::kNotFound, Reason::kJobNotFound);
    EXPECT_REASON(queue_.Cancel(id), StatusCode::kNotFound,
                  Reason::kJobNotFound);
    EXPECT_REASON(queue_.Retry(id), StatusCode::kNotFound,
                  Reason::kJobNotFound);
    EXPECT_REASON(queue_.Delete(id), StatusCode::kNotFound,
                  Reason::kJobNotFound);
    EXPECT_REASON(store_->Events(id, 0, 10), StatusCode::kNotFound,
                  Reason::kJobNotFound);
    EXPECT_REASON(store_->Place(id), StatusCode::kNotFound,
                  Reason::kJobNotFound);
  }
}

TEST_P(Lifecycle, ClaimsInOrderOfCreation) {
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) {
    ids.push_back(queue_.Enqueue()->id);
    // Also within one microsecond, and when the clock goes back.
    if (i % 3 == 0) clock_.Advance(i % 2 == 0 ? 5000 : -9000);
  }
  clock_.Advance(kSecond);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  for (const std::string& id : ids) EXPECT_EQ(queue_.Claim()->id, id);
}

TEST_P(Lifecycle, EveryWriteOfAStaleAttemptIsFenced) {
  JobRecord stale = Running();
  clock_.Advance(options_.lease_ttl_micros);
  ASSERT_EQ(*store_->ExpireLeases(), 1);
  clock_.Advance(options_.backoff_max_micros);
  auto fresh = queue_.Claim("other");
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  ASSERT_EQ(fresh->id, stale.id);
  EXPECT_NE(fresh->lease_token, stale.lease_token);

  EXPECT_REASON(queue_.Heartbeat(stale), StatusCode::kAborted,
                Reason::kLeaseLost);
  for (Outcome outcome :
       {Outcome::kSucceeded, Outcome::kPermanentFailure,
        Outcome::kRetryableFailure, Outcome::kCrashed, Outcome::kCancelled,
        Outcome::kDrained, Outcome::kGateFailed}) {
    EXPECT_REASON(queue_.End(stale, outcome), StatusCode::kAborted,
                  Reason::kLeaseLost);
  }
  store_->Progress(stale.id, stale.lease_token, "stale");
  EXPECT_EQ(store_->Get(stale.id)->progress, "");
  EXPECT_EQ(store_->Get(stale.id)->event_sequence, fresh->event_sequence);
  EXPECT_TRUE(queue_.End(*fresh, Outcome::kSucceeded).ok());
  EXPECT_REASON(queue_.End(*fresh, Outcome::kSucceeded), StatusCode::kAborted,
                Reason::kLeaseLost);
  fresh->lease_token = "";
  EXPECT_REASON(queue_.Heartbeat(*fresh), StatusCode::kAborted,
                Reason::kLeaseLost);
  EXPECT_EQ(store_->Stats().fenced, 10);
}

TEST_P(Lifecycle, HeartbeatExtendsTheLease) {
  JobRecord job = Running();
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(options_.lease_ttl_micros - 1);
    EXPECT_EQ(*store_->ExpireLeases(), 0);
    auto beat = queue_.Heartbeat(job);
    ASSERT_TRUE(beat.ok()) << beat.status();
    EXPECT_EQ(beat->event_sequence, job.event_sequence);
  }
  clock_.Advance(options_.lease_ttl_micros);
  EXPECT_EQ(*store_->ExpireLeases(), 1);
  EXPECT_EQ(store_->Get(job.id)->state, JobState::kQueued);
}

TEST_P(Lifecycle, HeartbeatTellsOfACancellation) {
  JobRecord job = Running();
  EXPECT_EQ(queue_.Heartbeat(job)->state, JobState::kRunning);
  ASSERT_TRUE(queue_.Cancel(job.id).ok());
  EXPECT_EQ(queue_.Heartbeat(job)->state, JobState::kCancelling);
}

TEST_P(Lifecycle, CancelInEachState) {
  struct Row {
    JobState from, to;
  };
  for (Row row : {Row{JobState::kQueued, JobState::kCancelled},
                  Row{JobState::kRunning, JobState::kCancelling},
                  Row{JobState::kCancelling, JobState::kCancelling},
                  Row{JobState::kSucceeded, JobState::kSucceeded},
                  Row{JobState::kFailed, JobState::kFailed},
                  Row{JobState::kCancelled, JobState::kCancelled}}) {
    JobRecord job = InState(row.from);
    auto cancelled = queue_.Cancel(job.id);
    ASSERT_TRUE(cancelled.ok()) << cancelled.status();
    EXPECT_EQ(cancelled->state, row.to) << JobStateName(row.from);
    bool changed = row.from != row.to;
    EXPECT_EQ(cancelled->event_sequence, job.event_sequence + changed);
  }
}

TEST_P(Lifecycle, CancellingEndsByTheAttemptOrByItsLease) {
  JobRecord acknowledged = InState(JobState::kCancelling);
  EXPECT_EQ(queue_.End(acknowledged, Outcome::kCancelled)->state,
            JobState::kCancelled);
  JobRecord too_late = InState(JobState::kCancelling);
  EXPECT_EQ(queue_.End(too_late, Outcome::kSucceeded)->state,
            JobState::kSucceeded);
  JobRecord silent = InState(JobState::kCancelling);
  clock_.Advance(options_.lease_ttl_micros);
  EXPECT_EQ(*store_->ExpireLeases(), 1);
  EXPECT_EQ(store_->Get(silent.id)->state, JobState::kCancelled);
}

TEST_P(Lifecycle, AnAttemptCanNotCancelByItself) {
  JobRecord job = Running();
  EXPECT_EQ(queue_.End(job, Outcome::kCancelled).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(store_->Get(job.id)->state, JobState::kRunning);
}

TEST_P(Lifecycle, RetryInEachState) {
  for (JobState state : {JobState::kFailed, JobState::kCancelled}) {
    JobRecord job = InState(state);
    auto retried = queue_.Retry(job.id);
    ASSERT_TRUE(retried.ok()) << retried.status();
    EXPECT_EQ(retried->state, JobState::kQueued);
    EXPECT_EQ(retried->error, "");
    EXPECT_EQ(retried->end_time, 0);
    EXPECT_EQ(queue_.Claim()->id, job.id);
  }
  EXPECT_REASON(queue_.Retry(InState(JobState::kSucceeded).id),
                StatusCode::kFailedPrecondition, Reason::kJobSucceeded);
  for (JobState state :
       {JobState::kRunning, JobState::kCancelling, JobState::kQueued}) {
    JobRecord job = InState(state);
    auto retried = queue_.Retry(job.id);
    ASSERT_TRUE(retried.ok()) << retried.status();
    EXPECT_EQ(retried->state, state);
    EXPECT_EQ(retried->event_sequence, job.event_sequence);
  }
}

TEST_P(Lifecycle, DeleteOnlyWhatIsTerminal) {
  for (JobState state :
       {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
    JobRecord job = InState(state);
    ASSERT_TRUE(queue_.Delete(job.id).ok());
    EXPECT_REASON(store_->Get(job.id), StatusCode::kNotFound,
                  Reason::kJobNotFound);
    EXPECT_REASON(store_->Events(job.id, 0, 1), StatusCode::kNotFound,
                  Reason::kJobNotFound);
    EXPECT_EQ(store_->Stats().jobs[state], 0);
  }
  for (JobState state :
       {JobState::kRunning, JobState::kCancelling, JobState::kQueued}) {
    EXPECT_REASON(queue_.Delete(InState(state).id),
                  StatusCode::kFailedPrecondition, Reason::kJobNotTerminal);
  }
}

TEST_P(Lifecycle, EtagGuardsWrites) {
  JobRecord job = *queue_.Enqueue();
  EXPECT_EQ(Etag(job), "\"1\"");
  EXPECT_REASON(queue_.Cancel(job.id, "\"9\""), StatusCode::kAborted,
                Reason::kEtagMismatch);
  auto cancelled = queue_.Cancel(job.id, Etag(job));
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_NE(Etag(*cancelled), Etag(job));
  EXPECT_REASON(queue_.Retry(job.id, Etag(job)), StatusCode::kAborted,
                Reason::kEtagMismatch);
  EXPECT_REASON(queue_.Delete(job.id, Etag(job)), StatusCode::kAborted,
                Reason::kEtagMismatch);
  EXPECT_TRUE(queue_.Delete(job.id, Etag(*cancelled)).ok());
}

TEST_P(Lifecycle, StopAnswersWhatWaitsAndRefusesTheRest) {
  std::atomic<int> answered{0};
  for (int i = 0; i < 500; ++i) {
    store_->Enqueue({.spec = "s"}, [&](absl::StatusOr<JobRecord> job) {
      EXPECT_TRUE(job.ok()) << job.status();
      ++answered;
    });
  }
  store_->Stop();
  EXPECT_EQ(answered, 500);
  EXPECT_EQ(queue_.Enqueue().status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(queue_.Claim().status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->Get("x").status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(store_->ExpireLeases().status().code(), StatusCode::kUnavailable);
}

// Per principal, and only what has not ended.
TEST_P(Lifecycle, OpenJobsAreLimited) {
  EnqueueRequest request = {.spec = "s",
                            .request_id = "first",
                            .request_digest = "d",
                            .owner = {.tenant = "t", .principal = "p"},
                            .max_open_jobs = 2};
  const JobRecord first = *queue_.Enqueue(request);
  request.request_id.clear();
  ASSERT_TRUE(queue_.Enqueue(request).ok());
  const auto refused = queue_.Enqueue(request);
  EXPECT_REASON(refused, StatusCode::kResourceExhausted,
                Reason::kQuotaExceeded);
  EXPECT_EQ(GetField(refused.status()), "principal:p");
  // A repeat makes nothing new.
  request.request_id = "first";
  EXPECT_EQ(queue_.Enqueue(request)->id, first.id);
  request.request_id.clear();
  // Others are not affected.
  EnqueueRequest other = request;
  other.owner.principal = "q";
  EXPECT_TRUE(queue_.Enqueue(other).ok());
  // Running counts, ended does not.
  const JobRecord running = *queue_.Claim();
  EXPECT_REASON(queue_.Enqueue(request), StatusCode::kResourceExhausted,
                Reason::kQuotaExceeded);
  ASSERT_TRUE(queue_.End(running, Outcome::kSucceeded).ok());
  EXPECT_TRUE(queue_.Enqueue(request).ok());
  EXPECT_FALSE(queue_.Enqueue(request).ok());
}

// Instead of a new job; a repeat is answered all the same.
TEST_P(Lifecycle, ARefusalIsForNewJobsOnly) {
  EnqueueRequest request = {
      .spec = "s", .request_id = "once", .request_digest = "d"};
  const JobRecord job = *queue_.Enqueue(request);
  request.refusal = absl::ResourceExhaustedError("full");
  EXPECT_EQ(queue_.Enqueue(request)->id, job.id);
  request.request_id = "twice";
  EXPECT_EQ(queue_.Enqueue(request).status(), request.refusal);
}

TEST_P(Lifecycle, TenantsMayUseTheSameRequestId) {
  EnqueueRequest request = {.spec = "s",
                            .request_id = "build-1",
                            .request_digest = "one",
                            .owner = {.tenant = "a", .principal = "p"}};
  const JobRecord one = *queue_.Enqueue(request);
  request.owner.tenant = "b";
  request.request_digest = "two";
  const JobRecord two = *queue_.Enqueue(request);
  EXPECT_NE(one.id, two.id);
  EXPECT_EQ(queue_.Enqueue(request)->id, two.id);
}

}  // namespace
}  // namespace quant::testing

#include "server/queue/state_machine.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "core/base/error.h"

namespace quant {
namespace {

constexpr JobState kStates[] = {JobState::kQueued,     JobState::kRunning,
                                JobState::kCancelling, JobState::kSucceeded,
                                JobState::kFailed,     JobState::kCancelled};
constexpr Cause kCauses[] = {Cause::kClaim,
                             Cause::kRequestCancel,
                             Cause::kRetry,
                             Cause::kSucceeded,
                             Cause::kGateFailed,
                             Cause::kPermanentFailure,
                             Cause::kRetryableFailure,
                             Cause::kCrashed,
                             Cause::kDrained,
                             Cause::kCancelled,
                             Cause::kOwnerLost,
                             Cause::kLeaseExpired};

JobRecord InState(JobState state) {
  JobRecord job;
  job.id = "id";
  job.state = state;
  job.attempt = 1;
  job.max_attempts = 5;
  if (state == JobState::kRunning || state == JobState::kCancelling) {
    job.lease_token = "token";
    job.lease_owner = "owner";
    job.lease_until = 10;
  }
  return job;
}

TEST(StateMachine, RowsAreReachableAndNamed) {
  std::set<std::tuple<JobState, Cause, Guard>> seen;
  for (const Transition& row : Transitions()) {
    EXPECT_TRUE(seen.insert({row.from, row.cause, row.guard}).second);
    EXPECT_STRNE(CauseName(row.cause), "");
    EXPECT_STRNE(EffectName(row.effect), "");
    if (row.effect == Effect::kKeep) EXPECT_EQ(row.from, row.to);
    EXPECT_EQ(row.effect == Effect::kEnd,
              IsTerminal(row.to) && row.effect != Effect::kKeep);
  }
}

// For whatever cause: a lease belongs to RUNNING and CANCELLING, an end time
// to terminal states, terminal states change by a retry only.
TEST(StateMachine, InvariantsHoldForEveryPair) {
  FinishRequest finish;
  finish.reason = "REASON";
  finish.artifacts = {"a"};
  for (JobState state : kStates) {
    for (Cause cause : kCauses) {
      for (int crashes : {0, 2}) {
        for (int max_attempts : {1, 5}) {
          JobRecord job = InState(state);
          job.crashes_in_a_row = crashes;
          job.max_attempts = max_attempts;
          auto change = ApplyCause(job,
                                   {.cause = cause,
                                    .now = 100,
                                    .owner = "o",
                                    .new_lease_token = "t",
                                    .finish = &finish},
                                   QueueOptions());
          if (!change.ok()) {
            EXPECT_EQ(change.status().code(),
                      absl::StatusCode::kFailedPrecondition);
            continue;
          }
          const JobRecord& next = change->record;
          bool leased = next.state == JobState::kRunning ||
                        next.state == JobState::kCancelling;
          EXPECT_EQ(leased, !next.lease_token.empty());
          EXPECT_EQ(leased, !next.lease_owner.empty());
          if (change->events.empty()) {
            EXPECT_EQ(next.state, state);
            EXPECT_EQ(next.event_sequence, job.event_sequence);
            continue;
          }
          EXPECT_EQ(IsTerminal(next.state), next.end_time != 0);
          if (IsTerminal(state)) EXPECT_EQ(cause, Cause::kRetry);
          EXPECT_EQ(next.event_sequence,
                    static_cast<int64_t>(change->events.size()));
          EXPECT_EQ(next.update_time, 100);
        }
      }
    }
  }
}

TEST(StateMachine, EveryOutcomeEndsARunningAttempt) {
  for (int i = 0; i <= static_cast<int>(Outcome::kGateFailed); ++i) {
    Outcome outcome = static_cast<Outcome>(i);
    FinishRequest finish;
    finish.outcome = outcome;
    auto change = ApplyCause(InState(JobState::kCancelling),
                             {.cause = CauseOf(outcome), .finish = &finish},
                             QueueOptions());
    ASSERT_TRUE(change.ok()) << change.status();
    EXPECT_TRUE(IsTerminal(change->record.state));
  }
}

TEST(StateMachine, BackoffDoublesUpToItsBound) {
  QueueOptions options{.backoff_base_micros = 1000,
                       .backoff_max_micros = 10'000};
  EXPECT_EQ(BackoffMicros(1, 0, options), 1000);
  EXPECT_EQ(BackoffMicros(2, 0, options), 2000);
  EXPECT_EQ(BackoffMicros(4, 0, options), 8000);
  EXPECT_EQ(BackoffMicros(5, 0, options), 10'000);
  EXPECT_EQ(BackoffMicros(1'000'000, 0, options), 10'000);
  EXPECT_EQ(BackoffMicros(1, 1, options), 1200);
  EXPECT_EQ(BackoffMicros(1, -1, options), 800);
  EXPECT_EQ(BackoffMicros(0, 0, options), 1000);
  EXPECT_EQ(BackoffMicros(-3, 0, options), 1000);
}

TEST(StateMachine, TheDocumentSaysWhatTheTableSays) {
  std::string path = std::string(QUANT_SOURCE_DIR) + "/docs/job_states.md";
  std::string wanted = DescribeStateMachine();
  if (std::getenv("QUANT_UPDATE_DOCS") != nullptr) {
    std::ofstream(path) << wanted;
  }
  std::ostringstream written;
  written << std::ifstream(path).rdbuf();
  EXPECT_EQ(written.str(), wanted)
      << "run with QUANT_UPDATE_DOCS=1 and look at the difference";
}

}  // namespace
}  // namespace quant

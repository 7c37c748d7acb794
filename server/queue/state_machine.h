// The states of a job and every way between them, as one table. Both backends
// change a job only through ApplyCause, so that the semantics exist once;
// docs/job_states.md is drawn from the table (a test compares them).
//
// Pure: time, randomness and the new lease token come in.
#ifndef QUANT_SERVER_QUEUE_STATE_MACHINE_H_
#define QUANT_SERVER_QUEUE_STATE_MACHINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/queue/job.h"
#include "server/queue/job_store.h"

namespace quant {

// Why a job changes.
enum class Cause {
  kClaim,
  kRequestCancel,
  kRetry,
  // Outcomes of an attempt.
  kSucceeded,
  kGateFailed,
  kPermanentFailure,
  kRetryableFailure,
  kCrashed,
  kDrained,
  kCancelled,
  // Found by the server.
  kOwnerLost,
  kLeaseExpired,
};

// A row applies when its guard holds; rows are tried in order.
enum class Guard {
  kAlways,
  kPoisoned,    // QueueOptions.poison_after crashes in a row, no journal line
  kBudgetLeft,  // attempt - attempts_forgiven < max_attempts
  kBudgetSpent,
};

// What happens to the record besides its state.
enum class Effect {
  kKeep,      // nothing at all, not even an event
  kStart,     // attempt + 1, a new lease
  kMark,      // the state only: the lease stays
  kBackoff,   // lease gone, not claimed before a backoff with jitter
  kHandBack,  // lease gone, due at once, the attempt did not count
  kEnd,       // lease gone, end_time set
  kReset,     // due at once, with a fresh budget of attempts
};

struct Transition {
  JobState from;
  Cause cause;
  Guard guard;
  JobState to;
  // state_reason; "*" = given by the caller.
  const char* reason;
  Effect effect;
};

absl::Span<const Transition> Transitions();
const char* CauseName(Cause cause);
const char* GuardName(Guard guard);
const char* EffectName(Effect effect);
Cause CauseOf(Outcome outcome);

// What a cause brings with it. Pointers and references outlive the call.
struct CauseInput {
  Cause cause = Cause::kClaim;
  int64_t now = 0;
  double jitter = 0;                      // uniform in [-1, 1]
  std::string owner{};                    // kClaim
  std::string new_lease_token{};          // kClaim
  const FinishRequest* finish = nullptr;  // outcomes
};

struct JobChange {
  JobRecord record;
  std::vector<JobEvent> events;  // empty: nothing changed
};

// FAILED_PRECONDITION JOB_SUCCEEDED for a retry of a job that succeeded;
// FAILED_PRECONDITION for any pair without a row.
absl::StatusOr<JobChange> ApplyCause(const JobRecord& job,
                                     const CauseInput& input,
                                     const QueueOptions& options);

// The first record and event of a new job.
JobChange NewJob(const EnqueueRequest& request, const std::string& id,
                 int64_t now);

// Delay before attempt `used` + 1, in microseconds: base doubled per used
// attempt, bounded, then +-20 % by `jitter` in [-1, 1].
int64_t BackoffMicros(int used, double jitter, const QueueOptions& options);

// docs/job_states.md.
std::string DescribeStateMachine();

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_STATE_MACHINE_H_

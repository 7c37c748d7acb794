#include "server/queue/state_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr JobState kQueued = JobState::kQueued;
constexpr JobState kRunning = JobState::kRunning;
constexpr JobState kCancelling = JobState::kCancelling;
constexpr JobState kSucceeded = JobState::kSucceeded;
constexpr JobState kFailed = JobState::kFailed;
constexpr JobState kCancelled = JobState::kCancelled;
constexpr Guard kAlways = Guard::kAlways;

// Public reasons; see Job.state_reason.
constexpr char kRetrying[] = "RETRYING";
constexpr char kDrained[] = "DRAINED";
constexpr char kGateFailed[] = "GATE_FAILED";
constexpr char kPoison[] = "POISON";
constexpr char kExhausted[] = "ATTEMPTS_EXHAUSTED";

// A cancellation loses only against a result that is already there.
constexpr Transition kTransitions[] = {
    {kQueued, Cause::kClaim, kAlways, kRunning, "", Effect::kStart},
    {kQueued, Cause::kRequestCancel, kAlways, kCancelled, "", Effect::kEnd},
    {kQueued, Cause::kRetry, kAlways, kQueued, "", Effect::kKeep},

    {kRunning, Cause::kSucceeded, kAlways, kSucceeded, "", Effect::kEnd},
    {kRunning, Cause::kGateFailed, kAlways, kFailed, kGateFailed, Effect::kEnd},
    {kRunning, Cause::kPermanentFailure, kAlways, kFailed, "*", Effect::kEnd},
    {kRunning, Cause::kRetryableFailure, Guard::kBudgetLeft, kQueued, kRetrying,
     Effect::kBackoff},
    {kRunning, Cause::kRetryableFailure, Guard::kBudgetSpent, kFailed,
     kExhausted, Effect::kEnd},
    {kRunning, Cause::kCrashed, Guard::kPoisoned, kFailed, kPoison,
     Effect::kEnd},
    {kRunning, Cause::kCrashed, Guard::kBudgetLeft, kQueued, kRetrying,
     Effect::kBackoff},
    {kRunning, Cause::kCrashed, Guard::kBudgetSpent, kFailed, kExhausted,
     Effect::kEnd},
    {kRunning, Cause::kLeaseExpired, Guard::kPoisoned, kFailed, kPoison,
     Effect::kEnd},
    {kRunning, Cause::kLeaseExpired, Guard::kBudgetLeft, kQueued, kRetrying,
     Effect::kBackoff},
    {kRunning, Cause::kLeaseExpired, Guard::kBudgetSpent, kFailed, kExhausted,
     Effect::kEnd},
    {kRunning, Cause::kDrained, kAlways, kQueued, kDrained, Effect::kHandBack},
    {kRunning, Cause::kOwnerLost, kAlways, kQueued, kDrained,
     Effect::kHandBack},
    {kRunning, Cause::kRequestCancel, kAlways, kCancelling, "", Effect::kMark},
    {kRunning, Cause::kRetry, kAlways, kRunning, "", Effect::kKeep},

    {kCancelling, Cause::kSucceeded, kAlways, kSucceeded, "", Effect::kEnd},
    {kCancelling, Cause::kGateFailed, kAlways, kFailed, kGateFailed,
     Effect::kEnd},
    {kCancelling, Cause::kCancelled, kAlways, kCancelled, "", Effect::kEnd},
    {kCancelling, Cause::kPermanentFailure, kAlways, kCancelled, "",
     Effect::kEnd},
    {kCancelling, Cause::kRetryableFailure, kAlways, kCancelled, "",
     Effect::kEnd},
    {kCancelling, Cause::kCrashed, kAlways, kCancelled, "", Effect::kEnd},
    {kCancelling, Cause::kDrained, kAlways, kCancelled, "", Effect::kEnd},
    {kCancelling, Cause::kOwnerLost, kAlways, kCancelled, "", Effect::kEnd},
    {kCancelling, Cause::kLeaseExpired, kAlways, kCancelled, "", Effect::kEnd},
    {kCancelling, Cause::kRequestCancel, kAlways, kCancelling, "",
     Effect::kKeep},
    {kCancelling, Cause::kRetry, kAlways, kCancelling, "", Effect::kKeep},

    {kSucceeded, Cause::kRequestCancel, kAlways, kSucceeded, "", Effect::kKeep},
    {kFailed, Cause::kRequestCancel, kAlways, kFailed, "", Effect::kKeep},
    {kFailed, Cause::kRetry, kAlways, kQueued, "", Effect::kReset},
    {kCancelled, Cause::kRequestCancel, kAlways, kCancelled, "", Effect::kKeep},
    {kCancelled, Cause::kRetry, kAlways, kQueued, "", Effect::kReset},
};

int UsedAttempts(const JobRecord& job) {
  return job.attempt - job.attempts_forgiven;
}

bool Holds(Guard guard, const JobRecord& job, const QueueOptions& options) {
  switch (guard) {
    case Guard::kAlways:
      return true;
    case Guard::kPoisoned:
      return job.crashes_in_a_row >= options.poison_after;
    case Guard::kBudgetLeft:
      return UsedAttempts(job) < job.max_attempts;
    case Guard::kBudgetSpent:
      return UsedAttempts(job) >= job.max_attempts;
  }
  return false;
}

// A crash that wrote a journal line got somewhere: it neither counts towards
// poison nor costs an attempt, so that any number of kills ends in success as
// long as each attempt advances.
void CountCrash(const CauseInput& input, JobRecord& job) {
  bool crashed =
      input.cause == Cause::kCrashed || input.cause == Cause::kLeaseExpired;
  bool advanced = input.finish != nullptr && input.finish->journal_advanced;
  if (advanced) {
    job.crashes_in_a_row = 0;
    if (crashed) ++job.attempts_forgiven;
  } else if (crashed) {
    ++job.crashes_in_a_row;
  }
}

void DropLease(JobRecord& job) {
  job.lease_token.clear();
  job.lease_owner.clear();
  job.lease_until = 0;
}

void Start(const CauseInput& input, const QueueOptions& options,
           JobRecord& job) {
  ++job.attempt;
  job.lease_token = input.new_lease_token;
  job.lease_owner = input.owner;
  job.lease_until = input.now + options.lease_ttl_micros;
  job.start_time = input.now;
  job.progress.clear();
}

void Reset(JobRecord& job) {
  job.attempts_forgiven = job.attempt;
  job.crashes_in_a_row = 0;
  job.end_time = 0;
  job.expire_time = 0;
  job.error.clear();
  job.result.clear();
  job.artifacts.clear();
  job.progress.clear();
}

void ApplyEffect(Effect effect, const CauseInput& input,
                 const QueueOptions& options, JobRecord& job) {
  switch (effect) {
    case Effect::kKeep:
    case Effect::kMark:
      return;
    case Effect::kStart:
      return Start(input, options, job);
    case Effect::kBackoff:
      DropLease(job);
      job.run_after =
          input.now + BackoffMicros(UsedAttempts(job), input.jitter, options);
      return;
    case Effect::kHandBack:
      DropLease(job);
      --job.attempt;
      job.run_after = input.now;
      return;
    case Effect::kEnd:
      DropLease(job);
      job.end_time = input.now;
      if (job.retention != 0) job.expire_time = input.now + job.retention;
      return;
    case Effect::kReset:
      Reset(job);
      job.run_after = input.now;
      job.requeue_time = input.now;
      return;
  }
}

void Append(EventKind kind, const std::string& payload, JobChange& change) {
  JobRecord& job = change.record;
  change.events.push_back({.sequence = ++job.event_sequence,
                           .kind = kind,
                           .time = job.update_time,
                           .state = job.state,
                           .state_reason = job.state_reason,
                           .attempt = job.attempt,
                           .payload = payload});
}

// What a finished attempt leaves in the record. Results count only where the
// job ends by its result; an error stays until something succeeds.
void TakeResult(const FinishRequest& finish, const Transition& row,
                JobChange& change) {
  JobRecord& job = change.record;
  bool has_result =
      row.cause == Cause::kSucceeded || row.cause == Cause::kGateFailed;
  if (!finish.error.empty() || row.to == kSucceeded) job.error = finish.error;
  if (!has_result) return;
  job.result = finish.result;
  job.artifacts = finish.artifacts;
}

void AppendEvents(const CauseInput& input, const Transition& row,
                  JobChange& change) {
  bool has_result =
      row.cause == Cause::kSucceeded || row.cause == Cause::kGateFailed;
  if (has_result && input.finish != nullptr) {
    for (const std::string& gate : input.finish->gates) {
      Append(EventKind::kGate, gate, change);
    }
    for (const std::string& artifact : input.finish->artifacts) {
      Append(EventKind::kArtifact, artifact, change);
    }
  }
  Append(EventKind::kState, "", change);
  if (row.effect == Effect::kStart) Append(EventKind::kAttempt, "", change);
}

absl::Status Refuse(const JobRecord& job, Cause cause) {
  Reason reason = Reason::kInternal;
  if (cause == Cause::kRetry && job.state == kSucceeded) {
    reason = Reason::kJobSucceeded;
  }
  return MakeError(absl::StatusCode::kFailedPrecondition, reason,
                   absl::StrCat("jobs/", job.id, ": ", CauseName(cause),
                                " is not possible while the job is ",
                                JobStateName(job.state)));
}

const Transition* FindRow(const JobRecord& job, Cause cause,
                          const QueueOptions& options) {
  for (const Transition& row : kTransitions) {
    if (row.from == job.state && row.cause == cause &&
        Holds(row.guard, job, options)) {
      return &row;
    }
  }
  return nullptr;
}

}  // namespace

absl::Span<const Transition> Transitions() { return kTransitions; }

absl::StatusOr<JobChange> ApplyCause(const JobRecord& job,
                                     const CauseInput& input,
                                     const QueueOptions& options) {
  JobChange change{.record = job, .events = {}};
  JobRecord& next = change.record;
  CountCrash(input, next);
  const Transition* row = FindRow(next, input.cause, options);
  if (row == nullptr) return Refuse(job, input.cause);
  if (row->effect == Effect::kKeep) return JobChange{job, {}};
  ApplyEffect(row->effect, input, options, next);
  next.state = row->to;
  bool given = absl::string_view(row->reason) == "*";
  next.state_reason =
      given && input.finish != nullptr ? input.finish->reason : row->reason;
  next.update_time = input.now;
  if (input.finish != nullptr) TakeResult(*input.finish, *row, change);
  AppendEvents(input, *row, change);
  return change;
}

JobChange NewJob(const EnqueueRequest& request, const std::string& id,
                 int64_t now) {
  JobChange change;
  JobRecord& job = change.record;
  job.id = id;
  job.spec = request.spec;
  job.labels = request.labels;
  job.owner = request.owner;
  job.priority = request.priority;
  job.retention = request.retention;
  job.traceparent = request.traceparent;
  job.max_attempts = request.max_attempts;
  job.run_after = now;
  job.create_time = now;
  job.update_time = now;
  Append(EventKind::kState, "", change);
  return change;
}

int64_t BackoffMicros(int used, double jitter, const QueueOptions& options) {
  int64_t delay = std::max<int64_t>(options.backoff_base_micros, 0);
  for (int i = 1; i < used && delay < options.backoff_max_micros; ++i) {
    delay *= 2;
  }
  delay = std::min(delay, options.backoff_max_micros);
  constexpr double kJitterShare = 0.2;
  return delay + static_cast<int64_t>(delay * kJitterShare *
                                      std::clamp(jitter, -1.0, 1.0));
}

}  // namespace quant

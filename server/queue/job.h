// A job as the queue sees it: a state machine around an opaque request and an
// opaque result.
#ifndef QUANT_SERVER_QUEUE_JOB_H_
#define QUANT_SERVER_QUEUE_JOB_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace quant {

// Values are those of quant.v1.Job.State and of the database.
enum class JobState {
  kQueued = 1,
  kRunning = 2,
  kCancelling = 3,
  kSucceeded = 4,
  kFailed = 5,
  kCancelled = 6,
};

inline bool IsTerminal(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

// "QUEUED", ...
const char* JobStateName(JobState state);

// Who has a job. Empty: made on a server that asks nobody who they are.
struct JobOwner {
  std::string tenant;     // to whom it belongs
  std::string principal;  // who made it
  bool operator==(const JobOwner&) const = default;
  auto operator<=>(const JobOwner&) const = default;
};

struct JobRecord;
// Of the job's traceparent; empty for a job of before there were any.
std::string TraceIdOf(const JobRecord& job);

// Values are those of quant.v1.JobSpec.Priority.
inline constexpr int kLeastPriority = 1;
inline constexpr int kNormalPriority = 2;
inline constexpr int kMostPriority = 4;

// All times are microseconds since the Unix epoch, in the store's clock; 0 =
// not yet.
struct JobRecord {
  std::string id;    // 26 characters, sorts by creation
  std::string spec;  // serialized quant.v1.JobSpec, never looked into
  std::map<std::string, std::string> labels;
  JobOwner owner = {};
  std::string traceparent = {};  // of the call that made it
  int priority = kNormalPriority;
  int64_t retention = 0;  // microseconds after its end; 0: as the server is set
  JobState state = JobState::kQueued;
  std::string state_reason;   // UPPER_SNAKE, may be empty
  int attempt = 0;            // attempts started, drained ones given back
  int max_attempts = 0;       // budget: attempts - forgiven ones
  int attempts_forgiven = 0;  // before the last retry, and crashes that had
                              // written a journal line
  int crashes_in_a_row = 0;   // children that died without a new journal line
  std::string lease_token;    // of the running attempt; empty otherwise
  std::string lease_owner;    // node incarnation that holds it
  int64_t lease_until = 0;
  int64_t run_after = 0;     // not claimed before (backoff)
  int64_t requeue_time = 0;  // of the last retry by a caller
  std::string progress;      // serialized quant.v1.Progress, latest known
  std::string result;        // serialized quant.worker.v1.AttemptResult
  std::string error;         // serialized google.rpc.Status of the last failure
  std::vector<std::string> artifacts;  // artifact ids
  int64_t event_sequence = 0;          // of the latest durable event
  int64_t create_time = 0;
  int64_t start_time = 0;
  int64_t end_time = 0;
  int64_t expire_time = 0;  // of an ended job with a retention of its own
  int64_t update_time = 0;
};

enum class EventKind {
  kState = 2,  // values as in quant.v1.WatchJobResponse.Kind
  kAttempt = 3,
  kGate = 4,
  kArtifact = 5,
};

// A durable change, numbered in the transaction that made it.
struct JobEvent {
  int64_t sequence = 0;  // per job, 1, 2, 3, ...
  EventKind kind = EventKind::kState;
  int64_t time = 0;
  JobState state = JobState::kQueued;
  std::string state_reason;
  int attempt = 0;
  std::string payload;  // kGate: serialized quant.v1.GateResult; kArtifact: id
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_H_

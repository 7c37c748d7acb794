// The durable queue. At-least-once execution, effectively-once publication:
// every claim takes a new lease token, and every later write of that attempt is
// conditional on it; ABORTED LEASE_LOST means stop and publish nothing.
//
// Writes are asynchronous: `done` is called exactly once, on a thread of the
// store, after the change is durable (fsync) or has failed; after Stop, on the
// caller's. It must not block, and may call the store, except Stop.
// Reads are synchronous and may touch the disk: call them from an executor, not
// from a gRPC callback. Everything is thread-safe.
//
// All backends pass tests/conformance/job_store.
#ifndef QUANT_SERVER_QUEUE_JOB_STORE_H_
#define QUANT_SERVER_QUEUE_JOB_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "server/queue/job.h"

namespace quant {

// What the queue does with jobs that wait. Values are those of
// quant.v1.Queue.Mode and of the database.
enum class QueueMode {
  kOpen = 1,      // they are claimed
  kPaused = 2,    // none is claimed; attempts that run go on
  kDraining = 3,  // as kPaused, and attempts that run hand their jobs back
};

struct QueueControl {
  QueueMode mode = QueueMode::kOpen;
  int64_t time = 0;       // of its last change; 0: none so far
  std::string principal;  // who asked for it
};

using ControlCallback = std::function<void(absl::StatusOr<QueueControl>)>;

using JobCallback = std::function<void(absl::StatusOr<JobRecord>)>;

struct EnqueueRequest {
  std::string spec;
  std::map<std::string, std::string> labels;
  // Idempotency, per tenant: empty = none. The same id with the same digest
  // answers the job that exists; with another digest INVALID_ARGUMENT
  // REQUEST_ID_REUSED.
  std::string request_id;
  std::string request_digest;
  int max_attempts = 5;
  int priority = kNormalPriority;
  int64_t retention = 0;  // see JobRecord
  JobOwner owner = {};
  std::string traceparent = {};  // see JobRecord
  // RESOURCE_EXHAUSTED QUOTA_EXCEEDED when the owner has so many jobs that have
  // not ended; 0: no limit. A repeat is answered before that is looked at.
  int64_t max_open_jobs = 0;
  // Not OK: what to answer instead of making a new job.
  absl::Status refusal = absl::OkStatus();
  // All checks, and the job that would be made, without an id: nothing is
  // stored. A repeat is answered with its job.
  bool validate_only = false;
};

// How an attempt ended.
enum class Outcome {
  kSucceeded,
  // The model or the recipe is to blame: FAILED, never retried.
  kPermanentFailure,
  // A retry may mend it: QUEUED again after a backoff with jitter, or FAILED
  // ATTEMPTS_EXHAUSTED.
  kRetryableFailure,
  // The child died. As kRetryableFailure, but three in a row without a new
  // journal line are FAILED POISON, and one that wrote a journal line costs no
  // attempt: any number of kills ends well as long as each gets somewhere.
  kCrashed,
  // The attempt acknowledged a cancellation.
  kCancelled,
  // The server stops: QUEUED at once, and the attempt is given back.
  kDrained,
  // Finished, but a gate failed: FAILED GATE_FAILED, artifacts kept.
  kGateFailed,
};

struct FinishRequest {
  std::string id;
  std::string lease_token;
  Outcome outcome = Outcome::kSucceeded;
  std::string reason = {};  // UPPER_SNAKE for FAILED
  std::string error = {};   // serialized google.rpc.Status
  std::string result = {};  // serialized quant.worker.v1.AttemptResult
  std::vector<std::string> artifacts = {};
  std::vector<std::string> gates = {};  // serialized quant.v1.GateResult
  bool journal_advanced = false;  // a journal line was written this attempt
};

struct ListQuery {
  int limit = 50;
  // Only jobs older than this id (exclusive); empty = from the newest.
  std::string before_id;
  std::vector<JobState> states;               // empty = all
  std::map<std::string, std::string> labels;  // all must match
  std::optional<std::string> tenant = {};     // nothing = all
};

struct ExpiredQuery {
  int64_t retention = 0;  // of jobs that have none of their own; 0: for ever
  int limit = 100;
  // One of an earlier answer: only those that come after it; null: all.
  const JobRecord* after = nullptr;
};

struct QueueStats {
  struct Waiting {
    int64_t jobs = 0;
    int64_t oldest_create_time = 0;
  };
  std::map<JobState, int64_t> jobs;  // by state
  std::map<int, Waiting> waiting;    // by priority; none where none waits
  int64_t mean_attempt_micros = 0;   // 0 = unknown
  // Since the store was opened:
  int64_t commits = 0;   // durable ones (fdatasync)
  int64_t commands = 0;  // writes that shared them
  int64_t repeats = 0;   // Enqueue answered with the job of its request id
  int64_t fenced = 0;    // refused because the lease is another's, or over

  // Of all that wait; 0: none does.
  int64_t OldestCreateTime() const;
};

// Of a job that waits.
struct QueuePlace {
  int64_t position = 0;         // jobs that will be claimed before it
  int64_t estimated_start = 0;  // 0: unknown
};

class JobStore {
 public:
  virtual ~JobStore() = default;

  // Cancels nothing and loses nothing: what was asked before is done and
  // answered. After it, all calls answer UNAVAILABLE. Not from a callback.
  virtual void Stop() = 0;

  // --- callers ---
  virtual void Enqueue(EnqueueRequest request, JobCallback done) = 0;
  virtual absl::StatusOr<JobRecord> Get(const std::string& id) = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<JobRecord>> List(
      const ListQuery& query) = 0;
  // Durable events with sequence > after, ascending, at most `limit`.
  // OUT_OF_RANGE SEQUENCE_IN_FUTURE when `after` is newer than the job;
  // nothing (nullopt) when events after `after` were compacted.
  virtual absl::StatusOr<std::optional<std::vector<JobEvent>>> Events(
      const std::string& id, int64_t after, int limit) = 0;
  // `etag`, when not empty, must be Etag(record): ABORTED ETAG_MISMATCH.
  virtual void RequestCancel(const std::string& id, const std::string& etag,
                             JobCallback done) = 0;
  // `max_open_jobs`: as EnqueueRequest's, for a job that would be open again.
  virtual void Retry(const std::string& id, const std::string& etag,
                     int64_t max_open_jobs, JobCallback done) = 0;
  virtual void Delete(const std::string& id, const std::string& etag,
                      JobCallback done) = 0;
  // Before a job come those that are due in the order of Claim, then those that
  // wait for a backoff by its end. In memory: never blocks for long. NOT_FOUND
  // JOB_NOT_FOUND when the job does not wait.
  virtual absl::StatusOr<QueuePlace> Place(const std::string& id) = 0;
  // Ended jobs whose retention is over, in the order of OrderOfExpiry.
  virtual absl::StatusOr<std::vector<JobRecord>> Expired(
      const ExpiredQuery& query) = 0;
  virtual QueueStats Stats() = 0;
  // Durable; answers what holds then. The mode that it has already: unchanged.
  virtual void SetMode(QueueMode mode, const std::string& principal,
                       ControlCallback done) = 0;
  virtual QueueControl Control() = 0;  // in memory

  // --- workers ---
  // The first job that is due, now RUNNING under a new lease of `owner`; or
  // NOT_FOUND JOB_NOT_FOUND when none is due, or the mode is not kOpen. First
  // is who waits for longest, each step of priority counting as ageing_micros.
  virtual void Claim(const std::string& owner, JobCallback done) = 0;
  // Extends the lease. The record tells whether a cancellation was requested.
  virtual void Heartbeat(const std::string& id, const std::string& token,
                         JobCallback done) = 0;
  // Keeps the latest progress in memory for Get and watchers, and writes it at
  // most once a second. Never fails loudly: a lost lease shows at the next
  // Heartbeat.
  virtual void Progress(const std::string& id, const std::string& token,
                        std::string progress) = 0;
  virtual void Finish(FinishRequest request, JobCallback done) = 0;
  // All leases of an owner that is known dead: as if each had been kDrained
  // (running), or acknowledged (cancelling). Answers how many.
  virtual absl::StatusOr<int64_t> ReleaseOwner(const std::string& owner) = 0;
  // Leases past their end: as kCrashed (running) or acknowledged (cancelling).
  virtual absl::StatusOr<int64_t> ExpireLeases() = 0;
  // Leases held by anyone but `owner` are released: for a server that starts on
  // its own store.
  virtual absl::StatusOr<int64_t> ReleaseAllBut(const std::string& owner) = 0;

  // --- watchers ---
  // `listener` is called (on some thread, must not block, may be called
  // spuriously) after a durable change of the job with id, or new progress.
  // Returns a handle for Unsubscribe; after Unsubscribe returns, the listener
  // is not called any more.
  struct Change {
    bool durable = false;  // read Events() for what happened
    std::string progress;  // latest progress when not durable
  };
  virtual uint64_t Subscribe(const std::string& id,
                             std::function<void(const Change&)> listener) = 0;
  virtual void Unsubscribe(uint64_t handle) = 0;
  // Called after something became claimable (new job, retry, release, end of a
  // backoff, another mode); maybe spuriously. Null takes it away, with
  // Unsubscribe's promise.
  virtual void SetClaimableListener(std::function<void()> listener) = 0;
};

// Of ended jobs, by their own end of retention, end and id.
inline auto OrderOfExpiry(const JobRecord& job) {
  return std::tie(job.expire_time, job.end_time, job.id);
}

// Changes whenever the durable part of the job changes: "\"<sequence>\"".
std::string Etag(const JobRecord& record);

// After so long a waiting job is worth as much as one of the next priority.
inline constexpr int64_t kAgeingMicros = int64_t{30} * 60 * 1'000'000;

// Lease arithmetic and retry policy, the same for all backends.
struct QueueOptions {
  int64_t lease_ttl_micros = 60'000'000;
  int64_t backoff_base_micros = 5'000'000;   // doubles per attempt
  int64_t backoff_max_micros = 900'000'000;  // then +-20 % jitter
  int poison_after = 3;
  int64_t ageing_micros = kAgeingMicros;
  int max_events_per_job = 1000;  // older ones are compacted
  int64_t request_id_ttl_micros = int64_t{7} * 24 * 3600 * 1'000'000;
  uint64_t jitter_seed = 0;  // 0: from the operating system
  // Told of every durable commit and how long it took; on the store's thread.
  std::function<void(double seconds)> committed = nullptr;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_STORE_H_

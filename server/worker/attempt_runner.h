// The server's side of one attempt: feeds a child process, keeps the lease, and
// tells how it ended.
#ifndef QUANT_SERVER_WORKER_ATTEMPT_RUNNER_H_
#define QUANT_SERVER_WORKER_ATTEMPT_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "quant/worker/v1/attempt.pb.h"
#include "server/queue/job_store.h"
#include "server/store/job_logs.h"
#include "server/worker/child_process.h"
#include "server/worker/memory_budget.h"

namespace quant {

struct AttemptTiming {
  int64_t heartbeat_micros = 15'000'000;
  // Without a confirmed heartbeat for so long, the lease may be somebody
  // else's.
  int64_t give_up_micros = 40'000'000;
  // A child that was asked to stop is killed after this.
  int64_t stop_grace_micros = 10'000'000;
};

// How it ended. At most one of `result` and `error` is set; neither: the child
// died, or was stopped.
struct AttemptEnd {
  bool lease_lost = false;        // stop here: write and publish nothing
  bool cancel_requested = false;  // by a caller
  bool drained = false;           // by the server
  bool timed_out = false;         // JobSpec.timeout is over
  bool journal_advanced = false;
  // What its sandbox lacks; nothing when it did not come so far.
  std::optional<std::string> unconfined;
  std::optional<worker::v1::AttemptResult> result;
  std::optional<google::rpc::Status> error;
  std::string exit_text;  // "killed by signal 9 (Killed)"
};

// Wakes a thread that waits in poll. Thread-safe.
class Waker {
 public:
  Waker();
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  void Wake();
  void Clear();
  int fd() const { return fd_; }

 private:
  int fd_;
};

// What an attempt runs with.
struct AttemptHost {
  JobStore& jobs;
  MemoryBudget& memory;
  const AttemptTiming& timing;
  Waker& waker;
  const std::atomic<bool>& draining;  // looked at whenever `waker` wakes
  JobLogs::Writer& log;
};

// Runs one claimed job in `child`, until it ends. What the plan may take of the
// memory is held to the end.
AttemptEnd RunInChild(const AttemptHost& host, const JobRecord& job,
                      const worker::v1::AttemptRequest& request,
                      ChildProcess child);

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_ATTEMPT_RUNNER_H_

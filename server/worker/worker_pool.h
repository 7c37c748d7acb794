// Claims jobs and runs them, each attempt in a child process. Meets the API
// only at the queue.
#ifndef QUANT_SERVER_WORKER_WORKER_POOL_H_
#define QUANT_SERVER_WORKER_WORKER_POOL_H_

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/v1/job.pb.h"
#include "server/queue/job_store.h"
#include "server/store/artifact_store.h"
#include "server/store/job_logs.h"
#include "server/telemetry/metrics.h"
#include "server/worker/attempt_runner.h"

namespace quant {

struct WorkerOptions {
  int slots = 1;  // attempts at the same time; 0: only maintenance
  int threads_per_job = 1;
  int64_t memory_limit_bytes = 0;  // for all attempts together; 0: none
  std::string owner;               // this process's incarnation, for leases
  std::string executable = "/proc/self/exe";  // run as "attempt --fd N"
  bool sync = true;
  AttemptTiming timing;
  // Between looks for claimable jobs and expired leases.
  int64_t poll_micros = 5'000'000;
};

struct WorkerStores {
  JobStore& jobs;
  ArtifactStore& artifacts;
  JobLogs& logs;
};

// Where a spec's model lies on this machine (see Planner::ResolveSource).
using SourceFinder =
    std::function<absl::StatusOr<std::string>(const v1::Source&)>;

class WorkerPool {
 public:
  // Starts claiming. What `stores` and `metrics` refer to outlives the pool.
  WorkerPool(const WorkerStores& stores, Metrics& metrics,
             SourceFinder find_source, WorkerOptions options);
  // Drains.
  ~WorkerPool();

  // What the plans of running attempts may take.
  int64_t granted_memory_bytes() const { return memory_.granted_bytes(); }

  // Stops claiming, asks running attempts to stop, and hands their jobs back
  // without costing an attempt. Returns when all are settled. Idempotent.
  void Drain();

 private:
  struct Slot {
    Waker waker;
    std::thread thread;
  };
  // A job that was claimed, and who tells of it.
  struct Claimed {
    const JobRecord& job;
    JobLogs::Writer& log;
  };

  void Work(Slot& slot);
  void Maintain();
  absl::StatusOr<JobRecord> Claim();
  void RunJob(Slot& slot, const JobRecord& job);
  absl::StatusOr<AttemptEnd> RunAttempt(Slot& slot, const Claimed& claimed,
                                        v1::JobSpec& spec);
  // Loudly, when a kernel can't confine what reads models of strangers.
  void ReportSandbox(const Claimed& claimed, const std::string& missing);
  // The result of an attempt that was finished but not published: a crash came
  // between. It is published as it is, without doing the work again.
  std::optional<worker::v1::AttemptResult> FinishedBefore(
      const std::string& work_dir);
  // Publishes and finishes a result.
  FinishRequest Succeed(const JobRecord& job, const v1::JobSpec& spec,
                        const AttemptEnd& end);
  FinishRequest Fail(const JobRecord& job, const absl::Status& status,
                     bool journal_advanced);
  FinishRequest Settle(const JobRecord& job, const v1::JobSpec& spec,
                       const AttemptEnd& end);
  void Finish(const Claimed& claimed, FinishRequest request, double seconds);
  void CleanUp(const JobRecord& after, Outcome outcome, JobLogs::Writer& log);
  void Count(const worker::v1::AttemptResult& result);
  void UpdateSlots(int busy_change);

  JobStore& jobs_;
  ArtifactStore& artifacts_;
  JobLogs& logs_;
  Metrics& metrics_;
  const SourceFinder find_source_;
  const WorkerOptions options_;
  MemoryBudget memory_;

  std::mutex mutex_;
  std::condition_variable wake_;
  uint64_t claimable_ = 0;  // counts hints that something became claimable
  std::atomic<bool> draining_{false};
  std::atomic<int> busy_{0};
  std::vector<std::unique_ptr<Slot>> slots_;
  std::thread maintenance_;
};

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_WORKER_POOL_H_

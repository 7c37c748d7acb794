// A queue in memory, a store on disk, models, and a pool with real children.
#ifndef QUANT_TESTS_SERVER_WORKER_WORKER_TEST_BASE_H_
#define QUANT_TESTS_SERVER_WORKER_WORKER_TEST_BASE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/pipeline/execute.h"
#include "quant/v1/job.pb.h"
#include "quant/worker/v1/attempt.pb.h"
#include "server/queue/job_store.h"
#include "server/store/artifact_store.h"
#include "server/telemetry/metrics.h"
#include "server/worker/worker_pool.h"

namespace quant {

class ManualClock final : public Clock {
 public:
  int64_t NowMicros() const override { return now_; }
  int64_t MonotonicMicros() const override { return now_; }
  void Advance(int64_t micros) { now_ += micros; }

 private:
  std::atomic<int64_t> now_{1'700'000'000'000'000};
};

// Relative path -> SHA-256 of the contents.
using Tree = std::map<std::string, std::string>;
Tree ReadTree(const std::string& directory);

// `tensors` matrices of [out, in] pseudo-random BF16, with a config.
void WriteModel(const std::string& directory, int tensors, int64_t out,
                int64_t in);

class WorkerTest : public ::testing::Test {
 protected:
  // A model that takes one thread a few seconds, tensor by tensor.
  static constexpr int kSlowTensors = 24;

  WorkerTest();
  ~WorkerTest() override;

  // `clock` null: the machine's.
  void OpenJobs(QueueOptions options, const Clock* clock = nullptr);
  void StartPool(const std::function<void(WorkerOptions&)>& change = {});
  void StopPool() { pool_.reset(); }

  std::string SmallModel();
  std::string SlowModel();
  static v1::JobSpec Spec(const std::string& model,
                          const std::string& scale = "minmax");
  std::string Enqueue(const v1::JobSpec& spec);
  std::string EnqueueBytes(const std::string& spec);  // anything

  JobRecord Job(const std::string& id);
  // The pool at work on the job, for at most two minutes.
  JobRecord WaitFor(const std::string& id,
                    const std::function<bool(const JobRecord&)>& done);
  JobRecord WaitForEnd(const std::string& id);
  JobRecord WaitForState(const std::string& id, JobState state);
  // Until a few tensors are done, and not all.
  void WaitForHalf(const std::string& id);
  void Cancel(const std::string& id);

  // What Execute makes of it in this process, by output.
  std::map<std::string, Tree> Direct(const v1::JobSpec& spec);
  ExecuteResult ExecuteIn(const v1::JobSpec& spec, const std::string& work);
  // Files of the job's artifacts, by output.
  std::map<std::string, Tree> Published(const std::string& id);
  bool HasWork(const std::string& id);
  static worker::v1::AttemptResult ResultOf(const JobRecord& job);
  // The reason of the job's last error.
  static Reason ErrorOf(const JobRecord& job);

  std::string root_;
  ManualClock clock_;
  Metrics metrics_;
  std::unique_ptr<JobStore> jobs_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<JobLogs> logs_;
  std::unique_ptr<WorkerPool> pool_;
};

// Children of this process that are alive.
std::vector<pid_t> Children();
// Waits for one that is not `known`.
// -1 when none came.
pid_t WaitForChild(const std::vector<pid_t>& known = {});
// kill(2), but of one process only: pid -1 would be every process there is.
bool Signal(pid_t child, int signal);
// Polls `done` for at most two minutes.
bool Eventually(const std::function<bool()>& done);

}  // namespace quant

#endif  // QUANT_TESTS_SERVER_WORKER_WORKER_TEST_BASE_H_

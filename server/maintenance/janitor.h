// Deletes what nobody wants any more: ended jobs with their artifacts once
// their retention is over, and uploads that are not used.
#ifndef QUANT_SERVER_MAINTENANCE_JANITOR_H_
#define QUANT_SERVER_MAINTENANCE_JANITOR_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/queue/job_store.h"
#include "server/store/artifact_store.h"
#include "server/store/job_logs.h"
#include "server/store/upload_store.h"
#include "server/telemetry/metrics.h"

namespace quant {

struct JanitorOptions {
  int64_t retention_micros = 0;   // of jobs that say nothing; 0: for ever
  int64_t upload_ttl_micros = 0;  // without use; 0: for ever
  int64_t interval_micros = 60'000'000;
};

struct JanitorStores {
  JobStore& jobs;
  ArtifactStore& artifacts;
  UploadStore& uploads;
  JobLogs& logs;
};

class Janitor {
 public:
  // All of them outlive it.
  Janitor(const JanitorStores& stores, Metrics& metrics, const Clock& clock,
          const JanitorOptions& options);

  // Sweeps at once, and then again and again, on a thread of its own until
  // destruction. What fails is logged, and tried again.
  void Start();

  // From the next round on.
  void SetOptions(const JanitorOptions& options);

  // One round, here.
  void Sweep();

 private:
  JanitorOptions Options();
  void SweepJobs();
  void SweepUploads();
  // Logs of jobs that are gone: a crash came between the two deletions.
  void SweepLogs();
  // Its artifacts first: a crash in between leaves a job to be deleted.
  absl::Status RemoveJob(const JobRecord& job);
  // Uploads that jobs need which have not ended.
  absl::StatusOr<std::vector<std::string>> UploadsInUse();
  void Run(std::stop_token stop);

  JobStore& jobs_;
  ArtifactStore& artifacts_;
  UploadStore& uploads_;
  JobLogs& logs_;
  bool logs_swept_ = false;  // since the start, which is enough
  Metrics& metrics_;
  const Clock& clock_;
  std::mutex mutex_;
  JanitorOptions options_;  // under mutex_
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: uses all of the above
};

}  // namespace quant

#endif  // QUANT_SERVER_MAINTENANCE_JANITOR_H_

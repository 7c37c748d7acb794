// The queue's writes over a table, one method each: check, apply the state
// machine, write, number the events. Used by one thread, in transactions.
//
// A write either fails before it has touched the table (a refusal) or leaves
// storage_error() set, and then the whole transaction must be rolled back.
#ifndef QUANT_SERVER_QUEUE_JOB_COMMANDS_H_
#define QUANT_SERVER_QUEUE_JOB_COMMANDS_H_

#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/queue/job_id.h"
#include "server/queue/job_index.h"
#include "server/queue/job_table.h"
#include "server/queue/state_machine.h"

namespace quant {

class JobCommands {
 public:
  // All outlive this object. `after`: ids will be greater.
  JobCommands(JobTable& table, JobIndex& index, const QueueOptions& options,
              const Clock& clock, JobKey after);

  // --- transactions ---
  absl::Status Begin();
  // On error the transaction is rolled back, and the index with it.
  absl::Status Commit();
  void Rollback();
  // Of the first table call that failed since Begin.
  const absl::Status& storage_error() const { return storage_error_; }
  bool wrote() const { return wrote_; }
  // Jobs with new events, and whether something became claimable, since Begin.
  const std::set<std::string>& changed() const { return changed_; }
  bool claimable() const { return claimable_; }
  // As QueueStats counts them, since Begin.
  int64_t repeats() const { return repeats_; }
  int64_t fenced() const { return fenced_; }

  // --- writes ---
  absl::StatusOr<JobRecord> Enqueue(const EnqueueRequest& request);
  absl::StatusOr<JobRecord> Claim(const std::string& owner);
  absl::StatusOr<JobRecord> RequestCancel(const std::string& id,
                                          const std::string& etag);
  absl::StatusOr<JobRecord> Retry(const std::string& id,
                                  const std::string& etag,
                                  int64_t max_open_jobs);
  absl::StatusOr<JobRecord> Delete(const std::string& id,
                                   const std::string& etag);
  absl::StatusOr<JobRecord> Heartbeat(const std::string& id,
                                      const std::string& token);
  absl::StatusOr<JobRecord> Finish(const FinishRequest& request);
  // `cause` to every job whose lease matches; answers how many.
  absl::StatusOr<int64_t> EndLeases(
      Cause cause,
      const std::function<bool(const std::string& owner, int64_t until)>&
          match);
  absl::StatusOr<QueueControl> SetMode(QueueMode mode,
                                       const std::string& principal);
  // Writes progress that is only in memory.
  absl::Status WriteProgress();

 private:
  absl::StatusOr<JobRecord> Load(const std::string& id);
  absl::StatusOr<JobRecord> LoadChecked(const std::string& id,
                                        const std::string& etag);
  absl::Status LeaseLost(const std::string& id);
  absl::StatusOr<JobRecord> LoadLeased(const std::string& id,
                                       const std::string& token);
  absl::StatusOr<std::optional<JobRecord>> FindRepeat(
      const EnqueueRequest& request, int64_t now);
  absl::Status CheckOpenJobs(const JobOwner& owner, int64_t most) const;
  absl::StatusOr<JobRecord> Apply(const JobRecord& job, CauseInput input);
  absl::Status WriteEvents(const JobChange& change);
  absl::Status Note(absl::Status status);
  void Index(const JobRecord* before, const JobRecord* after);

  JobTable& table_;
  JobIndex& index_;
  const QueueOptions& options_;
  const Clock& clock_;
  JobIdGenerator ids_;
  JobIdGenerator tokens_;
  std::mt19937_64 jitter_;
  int64_t next_request_sweep_ = 0;

  absl::Status storage_error_;
  bool wrote_ = false;
  bool claimable_ = false;
  int64_t repeats_ = 0;
  int64_t fenced_ = 0;
  std::set<std::string> changed_;
  // Changes of the index since Begin, to be taken back on Rollback.
  std::vector<std::pair<std::optional<JobBrief>, std::optional<JobBrief>>>
      undo_;
  std::optional<QueueControl> old_control_;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_COMMANDS_H_

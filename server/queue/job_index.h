// What the queue knows in memory about jobs that are not terminal: who waits,
// in claim order; who runs, under which lease, with which progress; counts by
// state; how long attempts take; and the queue's mode. Fed by every change, so
// reading it costs no disk. Claim order: waiting_jobs.h.
//
// Thread-safe.
#ifndef QUANT_SERVER_QUEUE_JOB_INDEX_H_
#define QUANT_SERVER_QUEUE_JOB_INDEX_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/queue/job.h"
#include "server/queue/job_brief.h"
#include "server/queue/job_store.h"
#include "server/queue/waiting_jobs.h"

namespace quant {

class JobIndex {
 public:
  explicit JobIndex(int64_t ageing_micros = kAgeingMicros)
      : waiting_(ageing_micros) {}

  void SetCounts(std::map<JobState, int64_t> counts);  // of terminal jobs
  // `before` is null for a new job, `after` for one that is deleted.
  void Replace(const JobBrief* before, const JobBrief* after);
  // The changes since the last call are durable, or taken back. Until then
  // Overlay also knows the leases that they ended, because readers still see
  // the records of before.
  void Settle();

  // The job to claim next, or nullopt when none is due, or the queue not open.
  std::optional<std::string> NextDue(int64_t now);
  // Whether jobs became due by the passing of time since the last call.
  bool TakeDue(int64_t now);
  // End of the earliest backoff that is not over.
  std::optional<int64_t> NextDueTime();
  // Nullopt when it does not wait.
  std::optional<QueuePlace> Place(const std::string& id, int64_t now);

  void SetControl(QueueControl control);
  QueueControl Control();
  // An attempt has ended its job after so long.
  void Took(int64_t micros);
  int64_t MeanAttemptMicros();  // of the latest; 0: there was none

  // Leases that `match` (owner, end).
  std::vector<std::string> Leases(
      const std::function<bool(const std::string& owner, int64_t until)>&
          match);
  // False when `token` does not hold the job.
  bool SetProgress(const std::string& id, const std::string& token,
                   std::string progress);
  // Puts the latest progress into a record of a running attempt. False when
  // that attempt has ended, and durably so: the record is older than that.
  bool Overlay(JobRecord& record);
  // Jobs with progress that was not written yet; they count as written now.
  std::vector<std::string> TakeUnwritten();
  bool HasUnwritten();

  std::map<JobState, int64_t> Counts();
  // Jobs of the owner that have not ended.
  int64_t OpenJobs(const JobOwner& owner);
  std::map<int, QueueStats::Waiting> Waiting();  // by priority

 private:
  struct Lease {
    std::string owner;
    std::string token;
    int64_t until = 0;
    int64_t start = 0;
    std::string progress;
    bool unwritten = false;
  };

  static constexpr size_t kAttemptsKept = 32;

  // With mutex_ held.
  int64_t MeanLocked() const;
  int64_t EstimateStart(int64_t position, int64_t run_after, int64_t now) const;
  void Add(const JobBrief& job);
  void Remove(const JobBrief& job);

  std::mutex mutex_;
  std::map<JobState, int64_t> counts_;
  std::map<JobOwner, int64_t> open_;  // jobs that have not ended
  WaitingJobs waiting_;
  std::unordered_map<std::string, Lease> leases_;
  std::unordered_map<std::string, Lease> ended_;  // since the last Settle
  int64_t unwritten_ = 0;
  QueueControl control_;
  std::deque<int64_t> attempts_;  // how long the latest took
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_INDEX_H_

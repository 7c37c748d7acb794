// What the queue knows in memory about jobs that are not terminal: who waits,
// in claim order; who runs, under which lease, with which progress; counts by
// state; how long attempts take; and the queue's mode. Fed by every change, so
// reading it costs no disk.
//
// Claim order: jobs that are due, those first that have waited for longest,
// where each step of priority counts as so much waiting; then those whose
// backoff is not over, by the end of it. Once due, always due. All who wait
// gain alike, so the order of two jobs never changes, and no job waits for
// those that come (most - least priority) steps after it.
//
// Thread-safe.
#ifndef QUANT_SERVER_QUEUE_JOB_INDEX_H_
#define QUANT_SERVER_QUEUE_JOB_INDEX_H_

#include <cstdint>
#include <deque>
#include <ext/pb_ds/assoc_container.hpp>
#include <ext/pb_ds/tree_policy.hpp>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/queue/job.h"
#include "server/queue/job_id.h"
#include "server/queue/job_store.h"

namespace quant {

// The part of a record that the index needs.
struct JobBrief {
  std::string id;
  JobState state = JobState::kQueued;
  int64_t run_after = 0;
  int64_t create_time = 0;
  std::string lease_owner;
  std::string lease_token;
  int64_t lease_until = 0;
  std::string progress;
  JobOwner owner = {};
  int priority = kNormalPriority;
  int64_t requeue_time = 0;
  int64_t start_time = 0;
};

JobBrief BriefOf(const JobRecord& record);

class JobIndex {
 public:
  explicit JobIndex(int64_t ageing_micros = kAgeingMicros)
      : ageing_micros_(ageing_micros) {}

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
  template <typename Key>
  using RankTree =
      __gnu_pbds::tree<Key, __gnu_pbds::null_type, std::less<Key>,
                       __gnu_pbds::rb_tree_tag,
                       __gnu_pbds::tree_order_statistics_node_update>;
  struct Waiter {
    int64_t run_after = 0;
    int64_t rank = 0;  // when it began to wait, less what its priority counts
    int priority = kNormalPriority;
    bool due = false;
  };
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
  void MoveDue(int64_t now);
  void Add(const JobBrief& job);
  void Remove(const JobBrief& job);

  const int64_t ageing_micros_;
  std::mutex mutex_;
  std::map<JobState, int64_t> counts_;
  std::map<JobOwner, int64_t> open_;  // jobs that have not ended
  std::map<JobKey, Waiter> waiting_;
  std::map<int, std::map<JobKey, int64_t>> created_;  // by priority, who waits
  RankTree<std::pair<int64_t, JobKey>> due_;
  RankTree<std::pair<int64_t, JobKey>> delayed_;
  bool became_due_ = false;
  std::unordered_map<std::string, Lease> leases_;
  std::unordered_map<std::string, Lease> ended_;  // since the last Settle
  int64_t unwritten_ = 0;
  QueueControl control_;
  std::deque<int64_t> attempts_;  // how long the latest took
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_INDEX_H_

// The jobs that wait, in the order in which they are claimed:
//   - jobs that are due before those whose backoff is not over; once due,
//     always due. The latter by the end of their backoff.
//   - Tenants take turns: the next job is one of the tenant whose last claim is
//     longest ago, so that what one of them sends never holds up another one by
//     more than a job per turn (docs/adr/0039).
//   - Of a tenant's jobs, those first that have waited for longest, where each
//     step of priority counts as so much waiting (docs/adr/0022). All who wait
//     gain alike, so the order of two jobs never changes.
//
// Times in microseconds. Not thread-safe.
#ifndef QUANT_SERVER_QUEUE_WAITING_JOBS_H_
#define QUANT_SERVER_QUEUE_WAITING_JOBS_H_

#include <cstdint>
#include <ext/pb_ds/assoc_container.hpp>
#include <ext/pb_ds/tree_policy.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "server/queue/job_brief.h"
#include "server/queue/job_id.h"
#include "server/queue/job_store.h"

namespace quant {

class WaitingJobs {
 public:
  struct Place {
    int64_t position = 0;  // jobs that are claimed before it, if none comes
    int64_t run_after = 0;
  };

  explicit WaitingJobs(int64_t ageing_micros) : ageing_micros_(ageing_micros) {}

  void Add(const JobBrief& job);
  void Remove(const std::string& id);  // nothing when it does not wait
  // A job of the tenant was claimed: all others come before it.
  void TakeTurn(const std::string& tenant);

  // The job to claim next, or nullopt when none is due.
  std::optional<std::string> Next(int64_t now);
  // Whether jobs became due by the passing of time since the last call.
  bool TakeDue(int64_t now);
  // End of the earliest backoff that is not over.
  std::optional<int64_t> NextDueTime() const;
  // Nullopt when it does not wait. Costs the count of tenants.
  std::optional<Place> PlaceOf(const std::string& id, int64_t now);
  std::map<int, QueueStats::Waiting> ByPriority() const;

 private:
  // By rank (when it began to wait, less what its priority counts), or by the
  // end of its backoff.
  using Ranked = std::pair<int64_t, JobKey>;
  using RankTree =
      __gnu_pbds::tree<Ranked, __gnu_pbds::null_type, std::less<Ranked>,
                       __gnu_pbds::rb_tree_tag,
                       __gnu_pbds::tree_order_statistics_node_update>;
  // What a tenant has due. Kept without jobs too, for its turn.
  struct Line {
    RankTree due;
    uint64_t turn = 0;  // of its latest claim; 0: there was none
  };
  struct Waiter {
    int64_t run_after = 0;
    int64_t rank = 0;
    int priority = kNormalPriority;
    Line* line = nullptr;
    bool due = false;
  };

  void MoveDue(int64_t now);
  // Whether `a` is served before `b`; both have a job that is due.
  static bool Before(const Line& a, const Line& b);
  int64_t DuePosition(const Line& line, const Ranked& job) const;

  const int64_t ageing_micros_;
  std::map<JobKey, Waiter> waiting_;
  std::map<int, std::map<JobKey, int64_t>> created_;  // by priority
  std::map<std::string, Line> lines_;                 // by tenant
  int64_t due_ = 0;                                   // of all lines
  uint64_t turns_ = 0;                                // taken so far
  RankTree delayed_;
  bool became_due_ = false;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_WAITING_JOBS_H_

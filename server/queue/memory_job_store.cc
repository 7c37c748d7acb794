#include "server/queue/memory_job_store.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "server/queue/job_table.h"
#include "server/queue/table_job_store.h"

namespace quant {
namespace {

bool Matches(const JobRecord& job, const ListQuery& query) {
  if (query.tenant && *query.tenant != job.owner.tenant) return false;
  if (!query.states.empty() &&
      std::find(query.states.begin(), query.states.end(), job.state) ==
          query.states.end()) {
    return false;
  }
  for (const auto& [key, value] : query.labels) {
    auto it = job.labels.find(key);
    if (it == job.labels.end() || it->second != value) return false;
  }
  return true;
}

// A transaction holds the mutex, so readers see whole ones only. Nothing here
// can fail, so Rollback has nothing to take back.
class MemoryJobTable final : public JobTable {
 public:
  absl::StatusOr<std::optional<JobRecord>> Get(const std::string& id) override {
    std::lock_guard lock(mutex_);
    return FindLocked(id);
  }

  absl::StatusOr<std::vector<JobRecord>> List(const ListQuery& query) override {
    std::lock_guard lock(mutex_);
    std::vector<JobRecord> out;
    auto it = query.before_id.empty() ? jobs_.end()
                                      : jobs_.lower_bound(query.before_id);
    while (it != jobs_.begin() &&
           out.size() < static_cast<size_t>(query.limit)) {
      --it;
      if (Matches(it->second.record, query)) out.push_back(it->second.record);
    }
    return out;
  }

  absl::StatusOr<std::vector<JobRecord>> Expired(
      int64_t now, int64_t ended_by, const ExpiredQuery& query) override {
    std::lock_guard lock(mutex_);
    std::vector<JobRecord> out;
    for (const auto& [id, row] : jobs_) {
      const JobRecord& job = row.record;
      const bool over = job.expire_time != 0 ? job.expire_time <= now
                                             : job.end_time <= ended_by;
      const bool later = query.after == nullptr ||
                         OrderOfExpiry(*query.after) < OrderOfExpiry(job);
      if (IsTerminal(job.state) && over && later) out.push_back(job);
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
      return OrderOfExpiry(a) < OrderOfExpiry(b);
    });
    out.resize(std::min(out.size(), static_cast<size_t>(query.limit)));
    return out;
  }

  absl::StatusOr<std::optional<EventPage>> Events(const std::string& id,
                                                  int64_t after,
                                                  int limit) override {
    std::lock_guard lock(mutex_);
    auto it = jobs_.find(id);
    if (it == jobs_.end()) return std::nullopt;
    EventPage page{.latest = it->second.record.event_sequence, .events = {}};
    for (const JobEvent& event : it->second.events) {
      if (page.events.size() == static_cast<size_t>(limit)) break;
      if (event.sequence > after) page.events.push_back(event);
    }
    return page;
  }

  absl::StatusOr<std::string> Load(JobIndex& index) override {
    return std::string();
  }

  absl::Status Begin() override {
    mutex_.lock();
    return absl::OkStatus();
  }
  absl::Status Commit() override {
    mutex_.unlock();
    return absl::OkStatus();
  }
  void Rollback() override { mutex_.unlock(); }

  absl::StatusOr<std::optional<JobRecord>> Find(
      const std::string& id) override {
    return FindLocked(id);
  }

  absl::Status Insert(const JobRecord& job) override {
    jobs_[job.id].record = job;
    return absl::OkStatus();
  }

  absl::Status Update(const JobRecord& job) override {
    jobs_[job.id].record = job;
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& id) override {
    jobs_.erase(id);
    return absl::OkStatus();
  }

  absl::Status AppendEvents(const std::string& id,
                            const std::vector<JobEvent>& events) override {
    std::deque<JobEvent>& kept = jobs_[id].events;
    kept.insert(kept.end(), events.begin(), events.end());
    return absl::OkStatus();
  }

  absl::Status CompactEvents(const std::string& id, int64_t sequence) override {
    std::deque<JobEvent>& kept = jobs_[id].events;
    while (!kept.empty() && kept.front().sequence <= sequence) {
      kept.pop_front();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Request>> FindRequest(
      const std::string& id) override {
    auto it = requests_.find(id);
    if (it == requests_.end()) return std::nullopt;
    return it->second;
  }

  // The index has it, and there is no next start.
  absl::Status PutControl(const QueueControl& control) override {
    return absl::OkStatus();
  }

  absl::Status PutRequest(const Request& request) override {
    requests_[request.id] = request;
    return absl::OkStatus();
  }

  absl::Status RemoveRequestsExpiredBy(int64_t now) override {
    std::erase_if(requests_,
                  [&](const auto& row) { return row.second.expires <= now; });
    return absl::OkStatus();
  }

 private:
  struct Row {
    JobRecord record;
    std::deque<JobEvent> events;
  };

  std::optional<JobRecord> FindLocked(const std::string& id) {
    auto it = jobs_.find(id);
    if (it == jobs_.end()) return std::nullopt;
    return it->second.record;
  }

  std::mutex mutex_;
  std::map<std::string, Row> jobs_;
  std::map<std::string, Request> requests_;
};

}  // namespace

std::unique_ptr<JobStore> MakeMemoryJobStore(const QueueOptions& options,
                                             const Clock& clock) {
  // Start fails only when Load does, and this one can't.
  return TableJobStore::Start(std::make_unique<MemoryJobTable>(), options,
                              clock)
      .value();
}

}  // namespace quant

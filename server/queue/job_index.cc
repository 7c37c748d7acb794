#include "server/queue/job_index.h"

#include <algorithm>
#include <numeric>

namespace quant {

void JobIndex::SetCounts(std::map<JobState, int64_t> counts) {
  std::lock_guard lock(mutex_);
  counts_ = std::move(counts);
}

void JobIndex::Replace(const JobBrief* before, const JobBrief* after) {
  std::lock_guard lock(mutex_);
  bool same_lease = before != nullptr && after != nullptr &&
                    !before->lease_token.empty() &&
                    before->lease_token == after->lease_token;
  auto lease = before ? leases_.find(before->id) : leases_.end();
  if (same_lease && lease != leases_.end()) {
    --counts_[before->state];
    ++counts_[after->state];
    lease->second.owner = after->lease_owner;
    lease->second.until = after->lease_until;
    return;
  }
  if (before != nullptr) Remove(*before);
  if (after != nullptr) Add(*after);
}

void JobIndex::Settle() {
  std::lock_guard lock(mutex_);
  ended_.clear();
}

void JobIndex::Add(const JobBrief& job) {
  ++counts_[job.state];
  if (IsTerminal(job.state)) return;
  ++open_[job.owner];
  if (job.state != JobState::kQueued) {
    leases_[job.id] = {.owner = job.lease_owner,
                       .token = job.lease_token,
                       .until = job.lease_until,
                       .start = job.start_time,
                       .progress = job.progress,
                       .unwritten = false};
    waiting_.TakeTurn(job.owner.tenant);
    return;
  }
  waiting_.Add(job);
}

void JobIndex::Remove(const JobBrief& job) {
  --counts_[job.state];
  if (auto open = open_.find(job.owner);
      !IsTerminal(job.state) && open != open_.end() && --open->second == 0) {
    open_.erase(open);
  }
  if (auto lease = leases_.find(job.id); lease != leases_.end()) {
    if (lease->second.unwritten) --unwritten_;
    ended_[job.id] = std::move(lease->second);
    leases_.erase(lease);
  }
  waiting_.Remove(job.id);
}

int64_t JobIndex::OpenJobs(const JobOwner& owner) {
  std::lock_guard lock(mutex_);
  const auto found = open_.find(owner);
  return found == open_.end() ? 0 : found->second;
}

bool JobIndex::TakeDue(int64_t now) {
  std::lock_guard lock(mutex_);
  return waiting_.TakeDue(now);
}

std::optional<std::string> JobIndex::NextDue(int64_t now) {
  std::lock_guard lock(mutex_);
  if (control_.mode != QueueMode::kOpen) return std::nullopt;
  return waiting_.Next(now);
}

std::optional<int64_t> JobIndex::NextDueTime() {
  std::lock_guard lock(mutex_);
  return waiting_.NextDueTime();
}

std::optional<QueuePlace> JobIndex::Place(const std::string& id, int64_t now) {
  std::lock_guard lock(mutex_);
  const auto place = waiting_.PlaceOf(id, now);
  if (!place) return std::nullopt;
  return QueuePlace{
      .position = place->position,
      .estimated_start = EstimateStart(place->position, place->run_after, now)};
}

int64_t JobIndex::MeanLocked() const {
  if (attempts_.empty()) return 0;
  const int64_t sum =
      std::accumulate(attempts_.begin(), attempts_.end(), int64_t{0});
  return sum / static_cast<int64_t>(attempts_.size());
}

// As if every attempt took the mean, and as many ran side by side as now: while
// jobs wait, all slots are taken.
int64_t JobIndex::EstimateStart(int64_t position, int64_t run_after,
                                int64_t now) const {
  const int64_t mean = MeanLocked();
  if (mean == 0 || leases_.empty() || control_.mode != QueueMode::kOpen) {
    return 0;
  }
  std::vector<int64_t> left;  // of the attempts that run
  for (const auto& [id, lease] : leases_) {
    left.push_back(std::max<int64_t>(lease.start + mean - now, 0));
  }
  std::sort(left.begin(), left.end());
  const auto slots = static_cast<int64_t>(left.size());
  const int64_t wait = left[position % slots] + position / slots * mean;
  return std::max(now + wait, run_after);
}

void JobIndex::SetControl(QueueControl control) {
  std::lock_guard lock(mutex_);
  control_ = std::move(control);
}

QueueControl JobIndex::Control() {
  std::lock_guard lock(mutex_);
  return control_;
}

void JobIndex::Took(int64_t micros) {
  std::lock_guard lock(mutex_);
  attempts_.push_back(std::max<int64_t>(micros, 1));
  if (attempts_.size() > kAttemptsKept) attempts_.pop_front();
}

int64_t JobIndex::MeanAttemptMicros() {
  std::lock_guard lock(mutex_);
  return MeanLocked();
}

std::vector<std::string> JobIndex::Leases(
    const std::function<bool(const std::string& owner, int64_t until)>& match) {
  std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  for (const auto& [id, lease] : leases_) {
    if (match(lease.owner, lease.until)) ids.push_back(id);
  }
  return ids;
}

bool JobIndex::SetProgress(const std::string& id, const std::string& token,
                           std::string progress) {
  std::lock_guard lock(mutex_);
  auto it = leases_.find(id);
  if (it == leases_.end() || it->second.token != token) return false;
  it->second.progress = std::move(progress);
  if (!it->second.unwritten) ++unwritten_;
  it->second.unwritten = true;
  return true;
}

bool JobIndex::Overlay(JobRecord& record) {
  if (record.lease_token.empty()) return true;
  std::lock_guard lock(mutex_);
  for (const auto* leases : {&leases_, &ended_}) {
    auto it = leases->find(record.id);
    if (it == leases->end() || it->second.token != record.lease_token) continue;
    record.progress = it->second.progress;
    return true;
  }
  return false;
}

std::vector<std::string> JobIndex::TakeUnwritten() {
  std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  for (auto& [id, lease] : leases_) {
    if (!lease.unwritten) continue;
    lease.unwritten = false;
    ids.push_back(id);
  }
  unwritten_ = 0;
  return ids;
}

bool JobIndex::HasUnwritten() {
  std::lock_guard lock(mutex_);
  return unwritten_ > 0;
}

std::map<JobState, int64_t> JobIndex::Counts() {
  std::lock_guard lock(mutex_);
  return counts_;
}

std::map<int, QueueStats::Waiting> JobIndex::Waiting() {
  std::lock_guard lock(mutex_);
  return waiting_.ByPriority();
}

}  // namespace quant

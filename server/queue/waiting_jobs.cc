#include "server/queue/waiting_jobs.h"

#include <algorithm>

namespace quant {

void WaitingJobs::Add(const JobBrief& job) {
  const std::optional<JobKey> key = ParseJobKey(job.id);
  if (!key) return;
  const int64_t since =
      job.requeue_time != 0 ? job.requeue_time : TimeOfJobKey(*key);
  waiting_[*key] = {.run_after = job.run_after,
                    .rank = since - job.priority * ageing_micros_,
                    .priority = job.priority,
                    .line = &lines_[job.owner.tenant]};
  created_[job.priority][*key] = job.create_time;
  delayed_.insert({job.run_after, *key});
}

void WaitingJobs::Remove(const std::string& id) {
  const std::optional<JobKey> key = ParseJobKey(id);
  if (!key) return;
  const auto found = waiting_.find(*key);
  if (found == waiting_.end()) return;
  const Waiter& job = found->second;
  if (job.due) {
    job.line->due.erase({job.rank, *key});
    --due_;
  } else {
    delayed_.erase({job.run_after, *key});
  }
  const auto same = created_.find(job.priority);
  same->second.erase(*key);
  if (same->second.empty()) created_.erase(same);
  waiting_.erase(found);
}

void WaitingJobs::TakeTurn(const std::string& tenant) {
  lines_[tenant].turn = ++turns_;
}

void WaitingJobs::MoveDue(int64_t now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const JobKey key = delayed_.begin()->second;
    delayed_.erase(*delayed_.begin());
    Waiter& job = waiting_[key];
    job.line->due.insert({job.rank, key});
    job.due = true;
    ++due_;
    became_due_ = true;
  }
}

bool WaitingJobs::TakeDue(int64_t now) {
  MoveDue(now);
  return std::exchange(became_due_, false);
}

bool WaitingJobs::Before(const Line& a, const Line& b) {
  if (a.turn != b.turn) return a.turn < b.turn;
  return *a.due.begin() < *b.due.begin();
}

std::optional<std::string> WaitingJobs::Next(int64_t now) {
  MoveDue(now);
  const Line* first = nullptr;
  for (const auto& [tenant, line] : lines_) {
    if (line.due.empty()) continue;
    if (first == nullptr || Before(line, *first)) first = &line;
  }
  if (first == nullptr) return std::nullopt;
  return FormatJobKey(first->due.begin()->second);
}

std::optional<int64_t> WaitingJobs::NextDueTime() const {
  if (delayed_.empty()) return std::nullopt;
  return delayed_.begin()->first;
}

// Before the k-th job of a line (from 0) every other line has k turns, and one
// more if it is served before this one.
int64_t WaitingJobs::DuePosition(const Line& line, const Ranked& job) const {
  const size_t k = line.due.order_of_key(job);
  size_t position = k;
  for (const auto& [tenant, other] : lines_) {
    if (&other == &line || other.due.empty()) continue;
    const size_t turns = k + (Before(other, line) ? 1 : 0);
    position += std::min(turns, other.due.size());
  }
  return static_cast<int64_t>(position);
}

std::optional<WaitingJobs::Place> WaitingJobs::PlaceOf(const std::string& id,
                                                       int64_t now) {
  const std::optional<JobKey> key = ParseJobKey(id);
  if (!key) return std::nullopt;
  MoveDue(now);
  const auto found = waiting_.find(*key);
  if (found == waiting_.end()) return std::nullopt;
  const Waiter& job = found->second;
  if (job.due) {
    return Place{.position = DuePosition(*job.line, {job.rank, *key}),
                 .run_after = job.run_after};
  }
  const size_t before = delayed_.order_of_key({job.run_after, *key});
  return Place{.position = due_ + static_cast<int64_t>(before),
               .run_after = job.run_after};
}

std::map<int, QueueStats::Waiting> WaitingJobs::ByPriority() const {
  std::map<int, QueueStats::Waiting> waiting;
  for (const auto& [priority, jobs] : created_) {
    waiting[priority] = {.jobs = static_cast<int64_t>(jobs.size()),
                         .oldest_create_time = jobs.begin()->second};
  }
  return waiting;
}

}  // namespace quant

#include "server/planner/plan_cache.h"

#include <utility>

namespace quant {

std::shared_ptr<const PlannedSpec> PlanCache::Get(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->value;
}

void PlanCache::Put(const std::string& key,
                    std::shared_ptr<const PlannedSpec> value) {
  const int64_t bytes =
      static_cast<int64_t>(value->plan.SpaceUsedLong() + key.size() * 3);
  std::lock_guard lock(mutex_);
  if (auto found = index_.find(key); found != index_.end()) {
    bytes_ -= found->second->bytes;
    entries_.erase(found->second);
    index_.erase(found);
  }
  entries_.push_front({key, std::move(value), bytes});
  index_[key] = entries_.begin();
  bytes_ += bytes;
  EvictLocked();
}

void PlanCache::EvictLocked() {
  while (!entries_.empty() &&
         (entries_.size() > max_entries_ || bytes_ > max_bytes_)) {
    bytes_ -= entries_.back().bytes;
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

}  // namespace quant

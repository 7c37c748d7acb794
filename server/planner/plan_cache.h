// Remembers plans, so that a job like one that was planned before is accepted
// without reading its model's headers again. Thread-safe.
#ifndef QUANT_SERVER_PLANNER_PLAN_CACHE_H_
#define QUANT_SERVER_PLANNER_PLAN_CACHE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "quant/v1/job.pb.h"
#include "quant/v1/plan.pb.h"

namespace quant {

// A spec that was checked against its source. Immutable.
struct PlannedSpec {
  v1::JobSpec canonical;
  std::string canonical_bytes;  // deterministic serialization
  std::string source_path;      // resolved
  std::string source_identity;  // see SourceIdentity
  v1::JobPlan plan;
};

// Least recently used goes first, by count and by bytes of the plans.
class PlanCache {
 public:
  PlanCache(size_t max_entries, int64_t max_bytes)
      : max_entries_(max_entries), max_bytes_(max_bytes) {}

  // Null when there is none.
  std::shared_ptr<const PlannedSpec> Get(const std::string& key);
  void Put(const std::string& key, std::shared_ptr<const PlannedSpec> value);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const PlannedSpec> value;
    int64_t bytes = 0;
  };
  void EvictLocked();

  const size_t max_entries_;
  const int64_t max_bytes_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  int64_t bytes_ = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_PLANNER_PLAN_CACHE_H_

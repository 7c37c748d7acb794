#include "server/queue/record_cache.h"

#include <utility>

namespace quant {
namespace {

// Maps, list nodes and the allocator's share.
constexpr int64_t kOverheadBytes = 600;

int64_t BytesOf(const JobRecord& job) {
  size_t bytes = job.spec.size() + job.progress.size() + job.result.size() +
                 job.error.size();
  for (const auto& [key, value] : job.labels) {
    bytes += key.size() + value.size() + 100;
  }
  for (const std::string& artifact : job.artifacts) bytes += artifact.size();
  return static_cast<int64_t>(bytes) + kOverheadBytes;
}

}  // namespace

RecordCache::RecordCache(int64_t max_bytes)
    : max_shard_bytes_(max_bytes / kShards) {}

std::shared_ptr<const JobRecord> RecordCache::Get(const std::string& id) {
  Shard& shard = ShardOf(id);
  std::lock_guard lock(shard.mutex);
  auto it = shard.by_id.find(id);
  if (it == shard.by_id.end()) return nullptr;
  shard.newest_first.splice(shard.newest_first.begin(), shard.newest_first,
                            it->second);
  return *it->second;
}

void RecordCache::Put(std::shared_ptr<const JobRecord> record) {
  Shard& shard = ShardOf(record->id);
  std::lock_guard lock(shard.mutex);
  RemoveLocked(shard, record->id);
  shard.bytes += BytesOf(*record);
  shard.newest_first.push_front(std::move(record));
  const JobRecord& added = *shard.newest_first.front();
  shard.by_id[added.id] = shard.newest_first.begin();
  while (shard.bytes > max_shard_bytes_ && !shard.newest_first.empty()) {
    std::string oldest = shard.newest_first.back()->id;
    RemoveLocked(shard, oldest);
  }
}

void RecordCache::Remove(const std::string& id) {
  Shard& shard = ShardOf(id);
  std::lock_guard lock(shard.mutex);
  RemoveLocked(shard, id);
}

void RecordCache::RemoveLocked(Shard& shard, const std::string& id) {
  auto it = shard.by_id.find(id);
  if (it == shard.by_id.end()) return;
  shard.bytes -= BytesOf(**it->second);
  shard.newest_first.erase(it->second);
  shard.by_id.erase(it);
}

}  // namespace quant

// The records that were written last, for readers: filled by the writer alone,
// after each commit, so that it can't hold anything older than the table.
#ifndef QUANT_SERVER_QUEUE_RECORD_CACHE_H_
#define QUANT_SERVER_QUEUE_RECORD_CACHE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "server/queue/job.h"

namespace quant {

// Thread-safe. Bounded by bytes; the least recently used record goes first.
class RecordCache {
 public:
  explicit RecordCache(int64_t max_bytes);

  // Null when it is not here.
  std::shared_ptr<const JobRecord> Get(const std::string& id);
  void Put(std::shared_ptr<const JobRecord> record);
  void Remove(const std::string& id);

 private:
  static constexpr int kShards = 16;
  // Shared with readers that still copy from a record that went.
  using Entries = std::list<std::shared_ptr<const JobRecord>>;
  struct Shard {
    std::mutex mutex;
    Entries newest_first;
    std::unordered_map<std::string, Entries::iterator> by_id;
    int64_t bytes = 0;
  };

  Shard& ShardOf(const std::string& id) {
    return shards_[std::hash<std::string>()(id) % shards_.size()];
  }
  static void RemoveLocked(Shard& shard, const std::string& id);

  const int64_t max_shard_bytes_;
  std::array<Shard, kShards> shards_;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_RECORD_CACHE_H_

// The embedded JobStore: one SQLite file on a local disk.
#ifndef QUANT_SERVER_QUEUE_SQLITE_JOB_STORE_H_
#define QUANT_SERVER_QUEUE_SQLITE_JOB_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/queue/job_store.h"

namespace quant {

struct SqliteJobStoreConfig {
  // Its directory must exist. "<path>-wal", "<path>-shm" and "<path>.lock" lie
  // beside it.
  std::string path;
  QueueOptions options = {};
  const Clock* clock = &Clock::System();  // outlives the store
  // Bounds the file: beyond it writes are RESOURCE_EXHAUSTED STORAGE_FULL.
  // 4096-byte pages; 0 = no bound.
  int64_t max_pages = 0;
  // Of records for readers.
  int64_t cache_bytes = 64 << 20;
};

// FAILED_PRECONDITION WORK_DIR_LOCKED when another server has the file open,
// UNSUPPORTED for a network file system, a newer schema or a database of
// another program; DATA_LOSS for a damaged file. Former leases stay: call
// ReleaseAllBut.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(
    const SqliteJobStoreConfig& config);

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_SQLITE_JOB_STORE_H_

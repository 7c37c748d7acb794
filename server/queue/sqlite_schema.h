// Opening a queue's database: where it may lie, how it is set up, what it
// looks like, and which files are refused.
#ifndef QUANT_SERVER_QUEUE_SQLITE_SCHEMA_H_
#define QUANT_SERVER_QUEUE_SQLITE_SCHEMA_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/queue/sqlite.h"

namespace quant {

inline constexpr int64_t kSqliteApplicationId = 0x514A4F42;  // "QJOB"
inline constexpr int64_t kSqliteSchemaVersion = 4;

// FAILED_PRECONDITION UNSUPPORTED when `magic` (statfs f_type) is a network
// file system: their locks and shared memory can't be trusted.
absl::Status CheckFileSystem(int64_t magic, const std::string& path);

// The one writing connection: creates or migrates the schema, in a
// transaction. `max_pages` > 0 bounds the file (4096-byte pages).
// FAILED_PRECONDITION UNSUPPORTED for a newer schema, or a database that is no
// queue; DATA_LOSS for a damaged file (checked when it is small, or was not
// closed cleanly).
absl::StatusOr<std::unique_ptr<SqliteDatabase>> OpenSqliteWriter(
    const std::string& path, int64_t max_pages);

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_SQLITE_SCHEMA_H_

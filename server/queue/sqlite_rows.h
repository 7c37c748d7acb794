// Records as rows of the queue's database, both ways.
#ifndef QUANT_SERVER_QUEUE_SQLITE_ROWS_H_
#define QUANT_SERVER_QUEUE_SQLITE_ROWS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/queue/job.h"
#include "server/queue/sqlite.h"

namespace quant {

// A list of byte strings as one, and back; DATA_LOSS for what is no such list.
std::string EncodeStrings(const std::vector<std::string>& strings);
absl::StatusOr<std::vector<std::string>> DecodeStrings(
    absl::string_view encoded);

// "SELECT <columns> FROM job j JOIN job_spec s ON s.id = j.id"; add a WHERE.
extern const char kSelectJob[];
// The row of a statement that begins with kSelectJob.
absl::StatusOr<JobRecord> JobOfRow(const SqliteStatement& row);

absl::Status InsertJobRows(SqliteDatabase& db, const JobRecord& job);
absl::Status UpdateJobRow(SqliteDatabase& db, const JobRecord& job);
absl::Status RemoveJobRows(SqliteDatabase& db, const std::string& id);

absl::Status InsertEventRow(SqliteDatabase& db, const std::string& id,
                            const JobEvent& event);
// Columns: sequence, kind, time, state, state_reason, attempt, payload.
JobEvent EventOfRow(const SqliteStatement& row);

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_SQLITE_ROWS_H_

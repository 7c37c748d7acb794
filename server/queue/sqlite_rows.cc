#include "server/queue/sqlite_rows.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

absl::Status BadList() {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kStorageUnavailable,
                   "queue: a row holds a list that can't be read; the file "
                   "is damaged, restore a backup");
}

std::string EncodeLabels(const std::map<std::string, std::string>& labels) {
  std::vector<std::string> strings;
  for (const auto& [key, value] : labels) {
    strings.push_back(key);
    strings.push_back(value);
  }
  return EncodeStrings(strings);
}

// The changing columns, in one order for INSERT and UPDATE. The strings that
// are bound must outlive the statement's run.
void BindJob(SqliteStatement& statement, const JobRecord& job,
             const std::string& artifacts) {
  statement.Int(static_cast<int64_t>(job.state))
      .Text(job.state_reason)
      .Int(job.attempt)
      .Int(job.max_attempts)
      .Int(job.attempts_forgiven)
      .Int(job.crashes_in_a_row)
      .Text(job.lease_token)
      .Text(job.lease_owner)
      .Int(job.lease_until)
      .Int(job.run_after)
      .Int(job.requeue_time)
      .Blob(job.progress)
      .Blob(job.result)
      .Blob(job.error)
      .Blob(artifacts)
      .Int(job.event_sequence)
      .Int(job.create_time)
      .Int(job.start_time)
      .Int(job.end_time)
      .Int(job.expire_time)
      .Int(job.update_time);
}

constexpr char kInsertJob[] =
    "INSERT INTO job(state, state_reason, attempt, max_attempts,"
    " attempts_forgiven, crashes_in_a_row, lease_token, lease_owner,"
    " lease_until, run_after, requeue_time, progress, result, error, artifacts,"
    " event_sequence, create_time, start_time, end_time, expire_time,"
    " update_time, id)"
    " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

constexpr char kUpdateJob[] =
    "UPDATE job SET state=?, state_reason=?, attempt=?, max_attempts=?,"
    " attempts_forgiven=?, crashes_in_a_row=?, lease_token=?, lease_owner=?,"
    " lease_until=?, run_after=?, requeue_time=?, progress=?, result=?,"
    " error=?, artifacts=?, event_sequence=?, create_time=?, start_time=?,"
    " end_time=?, expire_time=?, update_time=? WHERE id=?";

absl::Status RunWithId(SqliteDatabase& db, const std::string& sql,
                       const std::string& id) {
  QUANT_ASSIGN_OR_RETURN(SqliteStatement statement, db.Prepare(sql));
  return statement.Text(id).Run();
}

}  // namespace

const char kSelectJob[] =
    "SELECT j.id, j.state, j.state_reason, j.attempt, j.max_attempts,"
    " j.attempts_forgiven, j.crashes_in_a_row, j.lease_token, j.lease_owner,"
    " j.lease_until, j.run_after, j.requeue_time, j.progress, j.result,"
    " j.error, j.artifacts, j.event_sequence, j.create_time, j.start_time,"
    " j.end_time, j.expire_time, j.update_time, s.spec, s.labels, s.tenant,"
    " s.principal, s.priority, s.retention, s.traceparent"
    " FROM job j CROSS JOIN job_spec s ON s.id = j.id ";

// "<length>:<bytes>" for each.
std::string EncodeStrings(const std::vector<std::string>& strings) {
  std::string encoded;
  for (const std::string& text : strings) {
    absl::StrAppend(&encoded, text.size(), ":", text);
  }
  return encoded;
}

absl::StatusOr<std::vector<std::string>> DecodeStrings(
    absl::string_view encoded) {
  std::vector<std::string> strings;
  while (!encoded.empty()) {
    size_t colon = encoded.find(':');
    uint64_t length = 0;
    if (colon == absl::string_view::npos ||
        !absl::SimpleAtoi(encoded.substr(0, colon), &length) ||
        length > encoded.size() - colon - 1) {
      return BadList();
    }
    strings.emplace_back(encoded.substr(colon + 1, length));
    encoded.remove_prefix(colon + 1 + length);
  }
  return strings;
}

absl::StatusOr<JobRecord> JobOfRow(const SqliteStatement& row) {
  JobRecord job;
  int column = 0;
  job.id = row.ColumnBytes(column++);
  job.state = static_cast<JobState>(row.ColumnInt(column++));
  job.state_reason = row.ColumnBytes(column++);
  job.attempt = static_cast<int>(row.ColumnInt(column++));
  job.max_attempts = static_cast<int>(row.ColumnInt(column++));
  job.attempts_forgiven = static_cast<int>(row.ColumnInt(column++));
  job.crashes_in_a_row = static_cast<int>(row.ColumnInt(column++));
  job.lease_token = row.ColumnBytes(column++);
  job.lease_owner = row.ColumnBytes(column++);
  job.lease_until = row.ColumnInt(column++);
  job.run_after = row.ColumnInt(column++);
  job.requeue_time = row.ColumnInt(column++);
  job.progress = row.ColumnBytes(column++);
  job.result = row.ColumnBytes(column++);
  job.error = row.ColumnBytes(column++);
  QUANT_ASSIGN_OR_RETURN(job.artifacts,
                         DecodeStrings(row.ColumnBytes(column++)));
  job.event_sequence = row.ColumnInt(column++);
  job.create_time = row.ColumnInt(column++);
  job.start_time = row.ColumnInt(column++);
  job.end_time = row.ColumnInt(column++);
  job.expire_time = row.ColumnInt(column++);
  job.update_time = row.ColumnInt(column++);
  job.spec = row.ColumnBytes(column++);
  QUANT_ASSIGN_OR_RETURN(std::vector<std::string> labels,
                         DecodeStrings(row.ColumnBytes(column++)));
  if (labels.size() % 2 != 0) return BadList();
  for (size_t i = 0; i < labels.size(); i += 2) {
    job.labels[labels[i]] = labels[i + 1];
  }
  job.owner.tenant = row.ColumnBytes(column++);
  job.owner.principal = row.ColumnBytes(column++);
  job.priority = static_cast<int>(row.ColumnInt(column++));
  job.retention = row.ColumnInt(column++);
  job.traceparent = row.ColumnBytes(column++);
  return job;
}

absl::Status InsertJobRows(SqliteDatabase& db, const JobRecord& job) {
  std::string artifacts = EncodeStrings(job.artifacts);
  std::string labels = EncodeLabels(job.labels);
  {
    QUANT_ASSIGN_OR_RETURN(SqliteStatement insert, db.Prepare(kInsertJob));
    BindJob(insert, job, artifacts);
    QUANT_RETURN_IF_ERROR(insert.Text(job.id).Run());
  }
  {
    QUANT_ASSIGN_OR_RETURN(
        SqliteStatement insert,
        db.Prepare("INSERT INTO job_spec(id, spec, labels, tenant, principal,"
                   " priority, retention, traceparent)"
                   " VALUES(?,?,?,?,?,?,?,?)"));
    QUANT_RETURN_IF_ERROR(insert.Text(job.id)
                              .Blob(job.spec)
                              .Blob(labels)
                              .Text(job.owner.tenant)
                              .Text(job.owner.principal)
                              .Int(job.priority)
                              .Int(job.retention)
                              .Text(job.traceparent)
                              .Run());
  }
  for (const auto& [key, value] : job.labels) {
    QUANT_ASSIGN_OR_RETURN(
        SqliteStatement insert,
        db.Prepare("INSERT INTO job_label(key, value, job) VALUES(?,?,?)"));
    QUANT_RETURN_IF_ERROR(insert.Blob(key).Blob(value).Text(job.id).Run());
  }
  return absl::OkStatus();
}

absl::Status UpdateJobRow(SqliteDatabase& db, const JobRecord& job) {
  std::string artifacts = EncodeStrings(job.artifacts);
  QUANT_ASSIGN_OR_RETURN(SqliteStatement update, db.Prepare(kUpdateJob));
  BindJob(update, job, artifacts);
  return update.Text(job.id).Run();
}

absl::Status RemoveJobRows(SqliteDatabase& db, const std::string& id) {
  QUANT_ASSIGN_OR_RETURN(SqliteStatement select,
                         db.Prepare("SELECT labels FROM job_spec WHERE id=?"));
  QUANT_ASSIGN_OR_RETURN(bool found, select.Text(id).Step());
  QUANT_ASSIGN_OR_RETURN(
      std::vector<std::string> labels,
      DecodeStrings(found ? select.ColumnBytes(0) : std::string()));
  for (size_t i = 0; i + 1 < labels.size(); i += 2) {
    QUANT_ASSIGN_OR_RETURN(
        SqliteStatement remove,
        db.Prepare("DELETE FROM job_label WHERE key=? AND value=? AND job=?"));
    QUANT_RETURN_IF_ERROR(
        remove.Blob(labels[i]).Blob(labels[i + 1]).Text(id).Run());
  }
  QUANT_RETURN_IF_ERROR(RunWithId(db, "DELETE FROM event WHERE job=?", id));
  QUANT_RETURN_IF_ERROR(RunWithId(db, "DELETE FROM job_spec WHERE id=?", id));
  return RunWithId(db, "DELETE FROM job WHERE id=?", id);
}

absl::Status InsertEventRow(SqliteDatabase& db, const std::string& id,
                            const JobEvent& event) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement insert,
      db.Prepare("INSERT INTO event(job, sequence, kind, time, state,"
                 " state_reason, attempt, payload) VALUES(?,?,?,?,?,?,?,?)"));
  return insert.Text(id)
      .Int(event.sequence)
      .Int(static_cast<int64_t>(event.kind))
      .Int(event.time)
      .Int(static_cast<int64_t>(event.state))
      .Text(event.state_reason)
      .Int(event.attempt)
      .Blob(event.payload)
      .Run();
}

JobEvent EventOfRow(const SqliteStatement& row) {
  return {.sequence = row.ColumnInt(0),
          .kind = static_cast<EventKind>(row.ColumnInt(1)),
          .time = row.ColumnInt(2),
          .state = static_cast<JobState>(row.ColumnInt(3)),
          .state_reason = row.ColumnBytes(4),
          .attempt = static_cast<int>(row.ColumnInt(5)),
          .payload = row.ColumnBytes(6)};
}

}  // namespace quant

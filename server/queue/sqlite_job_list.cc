// ListJobs: newest first, by state and labels, without scanning the table.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/queue/sqlite_job_table.h"
#include "server/queue/sqlite_rows.h"

namespace quant {
namespace {

// Greater than every id.
constexpr char kAfterAllIds[] = "~";
// Distinct texts of these are kept for good by each connection, so the number
// of labels in the text is bounded; the rest are compared here.
constexpr size_t kMaxSqlLabels = 4;

bool HasLabels(const JobRecord& job,
               const std::map<std::string, std::string>& labels) {
  for (const auto& [key, value] : labels) {
    auto it = job.labels.find(key);
    if (it == job.labels.end() || it->second != value) return false;
  }
  return true;
}

// Rows are looked up along the shortest index whose order is right: running
// jobs are few, so their state; else a label, where there is one; else the
// state, or all jobs.
enum class Driver { kAll, kState, kLabel };

Driver DriverOf(const JobState* state, const ListQuery& query) {
  bool running = state != nullptr && (*state == JobState::kRunning ||
                                      *state == JobState::kCancelling);
  if (!query.labels.empty() && !running) return Driver::kLabel;
  return state != nullptr ? Driver::kState : Driver::kAll;
}

// Parameters: id, state where there is one, then key and value of each label.
std::string QueryText(Driver driver, bool by_state, size_t labels) {
  std::string text = kSelectJob;
  size_t looked_up = labels;
  if (driver == Driver::kLabel) {
    text.resize(text.find(" FROM "));
    absl::StrAppend(&text,
                    " FROM job_label d CROSS JOIN job j ON j.id = d.job"
                    " CROSS JOIN job_spec s ON s.id = j.id"
                    " WHERE d.job<?",
                    by_state ? " AND +j.state=?" : "",
                    " AND d.key=? AND d.value=?");
    --looked_up;
  } else {
    absl::StrAppend(&text, "WHERE j.id<?", by_state ? " AND j.state=?" : "");
  }
  for (size_t i = 0; i < looked_up; ++i) {
    absl::StrAppend(&text,
                    " AND EXISTS(SELECT 1 FROM job_label l WHERE l.key=?"
                    " AND l.value=? AND l.job=j.id)");
  }
  return absl::StrCat(text, " ORDER BY ",
                      driver == Driver::kLabel ? "d.job" : "j.id", " DESC");
}

absl::Status Collect(SqliteDatabase& db, const ListQuery& query,
                     const JobState* state, std::vector<JobRecord>& out) {
  size_t labels = std::min(query.labels.size(), kMaxSqlLabels);
  // Bound without a copy: must live as long as the statement.
  const std::string before =
      query.before_id.empty() ? kAfterAllIds : query.before_id;
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement statement,
      db.Prepare(QueryText(DriverOf(state, query), state != nullptr, labels)));
  statement.Text(before);
  if (state != nullptr) statement.Int(static_cast<int64_t>(*state));
  size_t bound = 0;
  for (const auto& [key, value] : query.labels) {
    if (bound++ == labels) break;
    statement.Blob(key).Blob(value);
  }
  for (int count = 0; count < query.limit;) {
    QUANT_ASSIGN_OR_RETURN(bool row, statement.Step());
    if (!row) break;
    QUANT_ASSIGN_OR_RETURN(JobRecord job, JobOfRow(statement));
    if (!HasLabels(job, query.labels)) continue;
    out.push_back(std::move(job));
    ++count;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<JobRecord>> SqliteJobTable::List(
    const ListQuery& query) {
  QUANT_ASSIGN_OR_RETURN(SqliteReaders::Lent db, readers_.Take());
  std::vector<JobRecord> jobs;
  std::set<JobState> states(query.states.begin(), query.states.end());
  if (states.empty()) {
    QUANT_RETURN_IF_ERROR(Collect(*db, query, nullptr, jobs));
    return jobs;
  }
  // Each state is a range of an index in the right order; several are merged.
  // One transaction, so that no job moves from one state to the other between.
  QUANT_RETURN_IF_ERROR((*db).Execute("BEGIN"));
  absl::Status status;
  for (JobState state : states) {
    status = Collect(*db, query, &state, jobs);
    if (!status.ok()) break;
  }
  QUANT_RETURN_IF_ERROR((*db).Execute("COMMIT"));
  QUANT_RETURN_IF_ERROR(status);
  std::sort(jobs.begin(), jobs.end(),
            [](const JobRecord& a, const JobRecord& b) { return a.id > b.id; });
  if (jobs.size() > static_cast<size_t>(query.limit)) {
    jobs.resize(query.limit);
  }
  return jobs;
}

}  // namespace quant

// Lists of jobs, without scanning the table: ListJobs, newest first, by state
// and labels; and those whose time is over.
#include <algorithm>
#include <cstdint>
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
// tenant, so that nobody pays for the jobs of others; else the state, or all.
enum class Driver { kAll, kState, kLabel, kTenant };

Driver DriverOf(const JobState* state, const ListQuery& query) {
  bool running = state != nullptr && (*state == JobState::kRunning ||
                                      *state == JobState::kCancelling);
  if (!query.labels.empty() && !running) return Driver::kLabel;
  if (query.tenant && !running) return Driver::kTenant;
  return state != nullptr ? Driver::kState : Driver::kAll;
}

struct Shape {
  Driver driver = Driver::kAll;
  bool by_state = false;
  bool by_tenant = false;
  size_t labels = 0;
};

// From which table, and the conditions on id, state and tenant.
std::string From(const Shape& shape) {
  const char* state = !shape.by_state                  ? ""
                      : shape.driver == Driver::kState ? " AND j.state=?"
                                                       : " AND +j.state=?";
  const char* tenant = !shape.by_tenant                  ? ""
                       : shape.driver == Driver::kTenant ? " AND s.tenant=?"
                                                         : " AND +s.tenant=?";
  const char* tables =
      " FROM job j CROSS JOIN job_spec s ON s.id = j.id WHERE j.id<?";
  if (shape.driver == Driver::kTenant) {
    tables = " FROM job_spec s CROSS JOIN job j ON j.id = s.id WHERE s.id<?";
  } else if (shape.driver == Driver::kLabel) {
    tables =
        " FROM job_label d CROSS JOIN job j ON j.id = d.job"
        " CROSS JOIN job_spec s ON s.id = j.id WHERE d.job<?";
  }
  return absl::StrCat(tables, state, tenant);
}

// Parameters: id, state and tenant where they are asked for, then key and value
// of each label.
std::string QueryText(const Shape& shape) {
  std::string text = kSelectJob;
  text.resize(text.find(" FROM "));
  text += From(shape);
  size_t looked_up = shape.labels;
  if (shape.driver == Driver::kLabel) {
    text += " AND d.key=? AND d.value=?";
    --looked_up;
  }
  for (size_t i = 0; i < looked_up; ++i) {
    absl::StrAppend(&text,
                    " AND EXISTS(SELECT 1 FROM job_label l WHERE l.key=?"
                    " AND l.value=? AND l.job=j.id)");
  }
  const char* id = shape.driver == Driver::kLabel    ? "d.job"
                   : shape.driver == Driver::kTenant ? "s.id"
                                                     : "j.id";
  return absl::StrCat(text, " ORDER BY ", id, " DESC");
}

absl::Status Collect(SqliteDatabase& db, const ListQuery& query,
                     const JobState* state, std::vector<JobRecord>& out) {
  size_t labels = std::min(query.labels.size(), kMaxSqlLabels);
  // Bound without a copy: must live as long as the statement.
  const std::string before =
      query.before_id.empty() ? kAfterAllIds : query.before_id;
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement statement,
      db.Prepare(QueryText({.driver = DriverOf(state, query),
                            .by_state = state != nullptr,
                            .by_tenant = query.tenant.has_value(),
                            .labels = labels})));
  statement.Text(before);
  if (state != nullptr) statement.Int(static_cast<int64_t>(*state));
  if (query.tenant) statement.Text(*query.tenant);
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

absl::StatusOr<std::vector<JobRecord>> SqliteJobTable::Expired(
    int64_t now, int64_t ended_by, const ExpiredQuery& query) {
  // Ranges of the index job_by_end, one after the other.
  static const std::string* const sql = new std::string(absl::StrCat(
      kSelectJob,
      "WHERE j.end_time>0 AND j.expire_time>=? AND j.expire_time<=?"
      " AND j.end_time<=? AND (j.expire_time, j.end_time, j.id)>(?,?,?)"
      " ORDER BY j.expire_time, j.end_time, j.id LIMIT ?"));
  const JobRecord first;
  const JobRecord& after = query.after == nullptr ? first : *query.after;
  struct Range {
    int64_t least, most, ended_by;
  };
  QUANT_ASSIGN_OR_RETURN(SqliteReaders::Lent db, readers_.Take());
  std::vector<JobRecord> jobs;
  for (const Range& range : {Range{0, 0, ended_by}, Range{1, now, INT64_MAX}}) {
    QUANT_ASSIGN_OR_RETURN(SqliteStatement select, (*db).Prepare(*sql));
    select.Int(range.least)
        .Int(range.most)
        .Int(range.ended_by)
        .Int(after.expire_time)
        .Int(after.end_time)
        .Text(after.id)
        .Int(query.limit - static_cast<int64_t>(jobs.size()));
    while (true) {
      QUANT_ASSIGN_OR_RETURN(bool row, select.Step());
      if (!row) break;
      QUANT_ASSIGN_OR_RETURN(JobRecord job, JobOfRow(select));
      jobs.push_back(std::move(job));
    }
  }
  return jobs;
}

}  // namespace quant

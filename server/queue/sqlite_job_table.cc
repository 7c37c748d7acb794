#include "server/queue/sqlite_job_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/queue/sqlite_rows.h"

namespace quant {
namespace {

// Readers only wait for each other on misses of the cache.
constexpr int kMaxReaders = 4;

absl::StatusOr<std::optional<JobRecord>> Select(SqliteDatabase& db,
                                                const std::string& id) {
  static const std::string* const sql =
      new std::string(absl::StrCat(kSelectJob, "WHERE j.id=?"));
  QUANT_ASSIGN_OR_RETURN(SqliteStatement query, db.Prepare(*sql));
  QUANT_ASSIGN_OR_RETURN(bool found, query.Text(id).Step());
  if (!found) return std::nullopt;
  QUANT_ASSIGN_OR_RETURN(JobRecord job, JobOfRow(query));
  return job;
}

}  // namespace

absl::StatusOr<SqliteReaders::Lent> SqliteReaders::Take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock,
                 [this] { return !free_.empty() || open_ < kMaxReaders; });
  if (!free_.empty()) {
    std::unique_ptr<SqliteDatabase> database = std::move(free_.back());
    free_.pop_back();
    return Lent(*this, std::move(database));
  }
  ++open_;
  lock.unlock();
  absl::StatusOr<std::unique_ptr<SqliteDatabase>> opened =
      SqliteDatabase::Open({.path = path_, .read_only = true});
  if (opened.ok()) return Lent(*this, *std::move(opened));
  lock.lock();
  --open_;
  returned_.notify_one();
  return opened.status();
}

void SqliteReaders::GiveBack(std::unique_ptr<SqliteDatabase> database) {
  {
    std::lock_guard lock(mutex_);
    free_.push_back(std::move(database));
  }
  returned_.notify_one();
}

SqliteJobTable::SqliteJobTable(FileLock lock,
                               std::unique_ptr<SqliteDatabase> writer,
                               const std::string& path, int64_t cache_bytes)
    : lock_(std::move(lock)),
      writer_(std::move(writer)),
      readers_(path),
      cache_(cache_bytes) {}

absl::StatusOr<std::optional<JobRecord>> SqliteJobTable::Get(
    const std::string& id) {
  if (std::shared_ptr<const JobRecord> job = cache_.Get(id)) return *job;
  QUANT_ASSIGN_OR_RETURN(SqliteReaders::Lent db, readers_.Take());
  return Select(*db, id);
}

absl::StatusOr<std::optional<JobTable::EventPage>> SqliteJobTable::Events(
    const std::string& id, int64_t after, int limit) {
  QUANT_ASSIGN_OR_RETURN(SqliteReaders::Lent db, readers_.Take());
  // One statement, hence one snapshot: the sequence and the events agree.
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement query,
      (*db).Prepare("SELECT e.sequence, e.kind, e.time, e.state,"
                    " e.state_reason, e.attempt, e.payload, j.event_sequence"
                    " FROM job j LEFT JOIN event e"
                    " ON e.job = j.id AND e.sequence > ?"
                    " WHERE j.id = ? ORDER BY e.sequence LIMIT ?"));
  query.Int(after).Text(id).Int(limit);
  std::optional<EventPage> page;
  while (true) {
    QUANT_ASSIGN_OR_RETURN(bool row, query.Step());
    if (!row) return page;
    if (!page) page.emplace();
    page->latest = query.ColumnInt(7);
    // 0 stands for NULL: a job without events after `after`.
    if (query.ColumnInt(0) > 0) page->events.push_back(EventOfRow(query));
  }
}

absl::Status SqliteJobTable::LoadCounts(JobIndex& index) {
  std::map<JobState, int64_t> terminal;
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement query,
      writer_->Prepare("SELECT state, count(*) FROM job"
                       " WHERE state IN (4, 5, 6) GROUP BY state"));
  while (true) {
    QUANT_ASSIGN_OR_RETURN(bool row, query.Step());
    if (!row) break;
    terminal[static_cast<JobState>(query.ColumnInt(0))] = query.ColumnInt(1);
  }
  index.SetCounts(std::move(terminal));
  return absl::OkStatus();
}

// Of the newest jobs that ended by an attempt, the newest last.
absl::Status SqliteJobTable::LoadAttempts(JobIndex& index) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement query,
      writer_->Prepare("SELECT id, end_time - start_time FROM"
                       " (SELECT * FROM job WHERE state = 4"
                       "  ORDER BY id DESC LIMIT 32) ORDER BY id"));
  while (true) {
    QUANT_ASSIGN_OR_RETURN(bool row, query.Step());
    if (!row) return absl::OkStatus();
    index.Took(query.ColumnInt(1));
  }
}

absl::Status SqliteJobTable::LoadControl(JobIndex& index) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement query,
      writer_->Prepare("SELECT mode, time, principal FROM control"));
  QUANT_ASSIGN_OR_RETURN(bool row, query.Step());
  if (!row) return absl::OkStatus();
  index.SetControl({.mode = static_cast<QueueMode>(query.ColumnInt(0)),
                    .time = query.ColumnInt(1),
                    .principal = query.ColumnBytes(2)});
  return absl::OkStatus();
}

absl::Status SqliteJobTable::LoadOpenJobs(JobIndex& index) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement query,
      writer_->Prepare(
          "SELECT j.id, state, run_after, create_time, lease_owner,"
          " lease_token, lease_until, progress, tenant, principal, priority,"
          " requeue_time, start_time"
          " FROM job j JOIN job_spec s ON s.id = j.id"
          " WHERE state IN (1, 2, 3)"));
  while (true) {
    QUANT_ASSIGN_OR_RETURN(bool row, query.Step());
    if (!row) return absl::OkStatus();
    JobBrief job{.id = query.ColumnBytes(0),
                 .state = static_cast<JobState>(query.ColumnInt(1)),
                 .run_after = query.ColumnInt(2),
                 .create_time = query.ColumnInt(3),
                 .lease_owner = query.ColumnBytes(4),
                 .lease_token = query.ColumnBytes(5),
                 .lease_until = query.ColumnInt(6),
                 .progress = query.ColumnBytes(7),
                 .owner = {.tenant = query.ColumnBytes(8),
                           .principal = query.ColumnBytes(9)},
                 .priority = static_cast<int>(query.ColumnInt(10)),
                 .requeue_time = query.ColumnInt(11),
                 .start_time = query.ColumnInt(12)};
    index.Replace(nullptr, &job);
  }
}

absl::StatusOr<std::string> SqliteJobTable::Load(JobIndex& index) {
  QUANT_RETURN_IF_ERROR(LoadCounts(index));
  QUANT_RETURN_IF_ERROR(LoadAttempts(index));
  QUANT_RETURN_IF_ERROR(LoadControl(index));
  QUANT_RETURN_IF_ERROR(LoadOpenJobs(index));
  QUANT_ASSIGN_OR_RETURN(SqliteStatement newest,
                         writer_->Prepare("SELECT max(id) FROM job"));
  QUANT_RETURN_IF_ERROR(newest.Step().status());
  return newest.ColumnBytes(0);
}

absl::Status SqliteJobTable::Begin() {
  pending_.clear();
  QUANT_ASSIGN_OR_RETURN(SqliteStatement begin,
                         writer_->Prepare("BEGIN IMMEDIATE"));
  return begin.Run();
}

absl::Status SqliteJobTable::Commit() {
  {
    QUANT_ASSIGN_OR_RETURN(SqliteStatement commit, writer_->Prepare("COMMIT"));
    QUANT_RETURN_IF_ERROR(commit.Run());
  }
  for (auto& [id, record] : pending_) {
    if (record == nullptr) {
      cache_.Remove(id);
    } else {
      cache_.Put(std::move(record));
    }
  }
  pending_.clear();
  return absl::OkStatus();
}

void SqliteJobTable::Rollback() {
  pending_.clear();
  if (!writer_->in_transaction()) return;  // SQLite has rolled back by itself
  // When this fails too, the next Begin says so.
  writer_->Execute("ROLLBACK").IgnoreError();
}

absl::StatusOr<std::optional<JobRecord>> SqliteJobTable::Find(
    const std::string& id) {
  if (auto it = pending_.find(id); it != pending_.end()) {
    if (it->second == nullptr) return std::nullopt;
    return *it->second;
  }
  if (std::shared_ptr<const JobRecord> job = cache_.Get(id)) return *job;
  return Select(*writer_, id);
}

absl::Status SqliteJobTable::Insert(const JobRecord& job) {
  QUANT_RETURN_IF_ERROR(InsertJobRows(*writer_, job));
  pending_[job.id] = std::make_shared<const JobRecord>(job);
  return absl::OkStatus();
}

absl::Status SqliteJobTable::Update(const JobRecord& job) {
  QUANT_RETURN_IF_ERROR(UpdateJobRow(*writer_, job));
  pending_[job.id] = std::make_shared<const JobRecord>(job);
  return absl::OkStatus();
}

absl::Status SqliteJobTable::Remove(const std::string& id) {
  QUANT_RETURN_IF_ERROR(RemoveJobRows(*writer_, id));
  pending_[id] = nullptr;
  return absl::OkStatus();
}

absl::Status SqliteJobTable::AppendEvents(const std::string& id,
                                          const std::vector<JobEvent>& events) {
  for (const JobEvent& event : events) {
    QUANT_RETURN_IF_ERROR(InsertEventRow(*writer_, id, event));
  }
  return absl::OkStatus();
}

absl::Status SqliteJobTable::CompactEvents(const std::string& id,
                                           int64_t sequence) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement remove,
      writer_->Prepare("DELETE FROM event WHERE job=? AND sequence<=?"));
  return remove.Text(id).Int(sequence).Run();
}

absl::StatusOr<std::optional<JobTable::Request>> SqliteJobTable::FindRequest(
    const std::string& id) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement query,
      writer_->Prepare("SELECT digest, job, expires FROM request WHERE id=?"));
  QUANT_ASSIGN_OR_RETURN(bool found, query.Blob(id).Step());
  if (!found) return std::nullopt;
  return Request{.id = id,
                 .digest = query.ColumnBytes(0),
                 .job = query.ColumnBytes(1),
                 .expires = query.ColumnInt(2)};
}

absl::Status SqliteJobTable::PutControl(const QueueControl& control) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement put,
      writer_->Prepare("INSERT OR REPLACE INTO control(id, mode, time,"
                       " principal) VALUES(1,?,?,?)"));
  return put.Int(static_cast<int64_t>(control.mode))
      .Int(control.time)
      .Text(control.principal)
      .Run();
}

absl::Status SqliteJobTable::PutRequest(const Request& request) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement put,
      writer_->Prepare("INSERT OR REPLACE INTO request(id, digest, job,"
                       " expires) VALUES(?,?,?,?)"));
  return put.Blob(request.id)
      .Blob(request.digest)
      .Text(request.job)
      .Int(request.expires)
      .Run();
}

absl::Status SqliteJobTable::RemoveRequestsExpiredBy(int64_t now) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement remove,
      writer_->Prepare("DELETE FROM request WHERE expires<=?"));
  return remove.Int(now).Run();
}

}  // namespace quant

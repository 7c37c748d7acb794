#include "server/queue/queue_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/queue/sqlite.h"
#include "server/queue/sqlite_rows.h"
#include "server/queue/sqlite_schema.h"

namespace quant {
namespace {

constexpr size_t kMaxDamage = 20;

absl::Status Refuse(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
                   absl::StrCat(path, ": ", what));
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> OpenReader(
    const std::string& path) {
  if (!PathExists(path)) {
    return MakeError(absl::StatusCode::kNotFound, Reason::kSourceMissing,
                     absl::StrCat(path, ": there is no such file"));
  }
  return SqliteDatabase::Open({.path = path, .read_only = true});
}

absl::StatusOr<int64_t> QueryInt(SqliteDatabase& db, const std::string& sql) {
  QUANT_ASSIGN_OR_RETURN(SqliteStatement query, db.Prepare(sql));
  QUANT_ASSIGN_OR_RETURN(const bool row, query.Step());
  return row ? query.ColumnInt(0) : 0;
}

absl::StatusOr<int64_t> SchemaVersion(SqliteDatabase& db,
                                      const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const int64_t application,
                         QueryInt(db, "PRAGMA application_id"));
  if (application != kSqliteApplicationId) {
    return Refuse(path, "is no queue of quantd");
  }
  QUANT_ASSIGN_OR_RETURN(
      const int64_t version,
      QueryInt(db, "SELECT max(version) FROM schema_version"));
  if (version <= kSqliteSchemaVersion) return version;
  return Refuse(path, absl::StrCat("has schema version ", version,
                                   ", this binary knows ", kSqliteSchemaVersion,
                                   "; take the newer quantd that wrote it"));
}

absl::StatusOr<std::vector<std::string>> FindDamage(SqliteDatabase& db) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement check,
      db.Prepare(absl::StrCat("PRAGMA integrity_check(", kMaxDamage, ")")));
  std::vector<std::string> damage;
  for (;;) {
    QUANT_ASSIGN_OR_RETURN(const bool row, check.Step());
    if (!row) break;
    damage.push_back(check.ColumnBytes(0));
  }
  if (damage == std::vector<std::string>{"ok"}) damage.clear();
  return damage;
}

absl::StatusOr<std::vector<QueueFileReport::Job>> ReadJobs(SqliteDatabase& db) {
  QUANT_ASSIGN_OR_RETURN(
      SqliteStatement query,
      db.Prepare("SELECT id, state, artifacts FROM job ORDER BY id"));
  std::vector<QueueFileReport::Job> jobs;
  for (;;) {
    QUANT_ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return jobs;
    QueueFileReport::Job job;
    job.id = query.ColumnBytes(0);
    job.state = static_cast<JobState>(query.ColumnInt(1));
    QUANT_ASSIGN_OR_RETURN(job.artifacts, DecodeStrings(query.ColumnBytes(2)));
    jobs.push_back(std::move(job));
  }
}

// All of `from` at one moment, as a new file without a log beside it.
absl::Status CopyTo(const std::string& target, const std::string& from) {
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> db, OpenReader(from));
  QUANT_RETURN_IF_ERROR(SchemaVersion(*db, from).status());
  QUANT_ASSIGN_OR_RETURN(SqliteStatement copy, db->Prepare("VACUUM INTO ?1"));
  QUANT_RETURN_IF_ERROR(copy.Text(target).Run());
  QUANT_ASSIGN_OR_RETURN(const QueueFileReport report,
                         InspectQueueFile(target));
  if (report.damage.empty()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDataLoss, Reason::kStorageUnavailable,
      absl::StrCat(from, ": the file is damaged (", report.damage[0], ")"));
}

absl::Status Sync(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenWrite(path));
  return file.Sync();
}

std::string DirectoryOf(const std::string& path) {
  const std::string parent = ParentPath(path);
  return parent.empty() ? "." : parent;
}

// The first free one of "<path>.replaced.1", ".2", ...
std::string NameForReplaced(const std::string& path) {
  for (int i = 1;; ++i) {
    const std::string name = absl::StrCat(path, ".replaced.", i);
    if (!PathExists(name)) return name;
  }
}

absl::Status Unlink(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoError(errno, path);
}

// A second name, which was free.
absl::Status Link(const std::string& path, const std::string& name) {
  if (::link(path.c_str(), name.c_str()) == 0) return absl::OkStatus();
  if (errno == EEXIST) return Refuse(name, "exists; name a file that does not");
  return ErrnoError(errno, name);
}

// The file of root's making belongs to whom the old one belonged: to the
// server.
absl::Status GiveToOwnerOf(const std::string& old, const std::string& path) {
  struct stat info;
  if (::stat(old.c_str(), &info) != 0) return ErrnoError(errno, old);
  if (info.st_uid == ::geteuid() && info.st_gid == ::getegid()) {
    return absl::OkStatus();
  }
  if (::chown(path.c_str(), info.st_uid, info.st_gid) == 0) {
    return absl::OkStatus();
  }
  return ErrnoError(errno, absl::StrCat(path, ": giving it to its owner"));
}

// Commits that are in the log only go into the file, and the log goes: a file
// and another file's log would make nonsense. What can't be read keeps its log.
bool FoldLog(const std::string& path) {
  auto db = SqliteDatabase::Open({.path = path});
  return db.ok() && (*db)->Execute("PRAGMA wal_checkpoint(TRUNCATE)").ok() &&
         (*db)->Execute("PRAGMA journal_mode=DELETE").ok();
}

// A second name for the old queue, so that it is there until the moment the new
// one takes its place. A log that could not be folded goes with it first.
absl::StatusOr<std::string> KeepReplaced(const std::string& path) {
  if (!PathExists(path)) return std::string();
  const std::string kept = NameForReplaced(path);
  const bool folded = FoldLog(path);
  QUANT_RETURN_IF_ERROR(Link(path, kept));
  for (const char* suffix : {"-wal", "-shm"}) {
    const std::string log = absl::StrCat(path, suffix);
    if (!PathExists(log)) continue;
    QUANT_RETURN_IF_ERROR(folded ? Unlink(log)
                                 : Rename(log, absl::StrCat(kept, suffix)));
  }
  return kept;
}

}  // namespace

absl::StatusOr<QueueFileReport> InspectQueueFile(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> db, OpenReader(path));
  QueueFileReport report;
  QUANT_ASSIGN_OR_RETURN(report.schema_version, SchemaVersion(*db, path));
  QUANT_ASSIGN_OR_RETURN(report.damage, FindDamage(*db));
  absl::StatusOr<std::vector<QueueFileReport::Job>> jobs = ReadJobs(*db);
  if (jobs.ok()) {
    report.jobs = *std::move(jobs);
  } else if (report.damage.empty()) {
    return jobs.status();
  } else {
    report.damage.push_back(std::string(jobs.status().message()));
  }
  return report;
}

absl::Status BackUpQueueFile(const std::string& path,
                             const std::string& target) {
  if (PathExists(target)) {
    return Refuse(target, "exists; name a file that does not");
  }
  const std::string aside = absl::StrCat(target, ".incomplete");
  QUANT_RETURN_IF_ERROR(Unlink(aside));
  QUANT_RETURN_IF_ERROR(CopyTo(aside, path));
  QUANT_RETURN_IF_ERROR(Sync(aside));
  QUANT_RETURN_IF_ERROR(Link(aside, target));
  QUANT_RETURN_IF_ERROR(Unlink(aside));
  return SyncDirectory(DirectoryOf(target));
}

absl::StatusOr<std::string> RestoreQueueFile(const std::string& backup,
                                             const std::string& path) {
  const std::string aside = absl::StrCat(path, ".restoring");
  for (const char* suffix : {"", "-wal", "-shm"}) {
    QUANT_RETURN_IF_ERROR(Unlink(absl::StrCat(aside, suffix)));
  }
  QUANT_RETURN_IF_ERROR(CopyTo(aside, backup));
  // Opened once as a server does, which checks and migrates it.
  QUANT_RETURN_IF_ERROR(OpenSqliteWriter(aside, /*max_pages=*/0).status());
  QUANT_RETURN_IF_ERROR(Sync(aside));
  if (PathExists(path)) QUANT_RETURN_IF_ERROR(GiveToOwnerOf(path, aside));
  QUANT_ASSIGN_OR_RETURN(std::string replaced, KeepReplaced(path));
  QUANT_RETURN_IF_ERROR(Rename(aside, path));
  QUANT_RETURN_IF_ERROR(SyncDirectory(DirectoryOf(path)));
  return replaced;
}

}  // namespace quant

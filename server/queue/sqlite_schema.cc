#include "server/queue/sqlite_schema.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// statfs(2) f_type values.
struct NetworkFileSystem {
  int64_t magic;
  const char* name;
};
constexpr NetworkFileSystem kNetworkFileSystems[] = {
    {0x6969, "NFS"},        {0xFF534D42, "CIFS"}, {0xFE534D42, "SMB2"},
    {0x517B, "SMB"},        {0x5346414F, "AFS"},  {0x00C36400, "Ceph"},
    {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"}, {0x7461636f, "OCFS2"},
    {0x564c, "NCP"},        {0x73757245, "Coda"}, {0x01161970, "GFS2"},
};

// Checking reads the whole file: 64 MiB take about 100 ms.
constexpr int64_t kAlwaysCheckBytes = 64 << 20;

constexpr char kSchema[] = R"sql(
CREATE TABLE schema_version(version INTEGER NOT NULL) STRICT;
CREATE TABLE job(
  id TEXT PRIMARY KEY NOT NULL,
  state INTEGER NOT NULL CHECK(state BETWEEN 1 AND 6),
  state_reason TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  attempts_forgiven INTEGER NOT NULL,
  crashes_in_a_row INTEGER NOT NULL,
  lease_token TEXT NOT NULL,
  lease_owner TEXT NOT NULL,
  lease_until INTEGER NOT NULL,
  run_after INTEGER NOT NULL,
  progress BLOB NOT NULL,
  result BLOB NOT NULL,
  error BLOB NOT NULL,
  artifacts BLOB NOT NULL,
  event_sequence INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  start_time INTEGER NOT NULL,
  end_time INTEGER NOT NULL,
  update_time INTEGER NOT NULL,
  CHECK((state IN (2, 3)) = (lease_token <> '')),
  CHECK(state IN (4, 5, 6) OR end_time = 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_by_state ON job(state, id);
-- What never changes is not written again with every change.
CREATE TABLE job_spec(
  id TEXT PRIMARY KEY NOT NULL,
  spec BLOB NOT NULL,
  labels BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE job_label(
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  job TEXT NOT NULL,
  PRIMARY KEY(key, value, job)
) STRICT, WITHOUT ROWID;
CREATE TABLE event(
  job TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  time INTEGER NOT NULL,
  state INTEGER NOT NULL,
  state_reason TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  payload BLOB NOT NULL,
  PRIMARY KEY(job, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE request(
  id BLOB PRIMARY KEY NOT NULL,
  digest BLOB NOT NULL,
  job TEXT NOT NULL,
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX request_by_expiry ON request(expires);
)sql";

// Version 1 is kSchema; the step at index i leads from version i + 1 to the
// next.
constexpr const char* kMigrations[] = {
    // 2: jobs belong to tenants. Those from before belong to nobody, so that
    // only an admin sees them once callers are asked who they are.
    R"sql(
ALTER TABLE job_spec ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE job_spec ADD COLUMN principal TEXT NOT NULL DEFAULT '';
CREATE INDEX job_by_tenant ON job_spec(tenant, id);
)sql",
    // 3: priorities, the queue's mode, retention. Jobs from before are NORMAL,
    // wait since their creation, and are kept as the server is set.
    R"sql(
ALTER TABLE job_spec ADD COLUMN priority INTEGER NOT NULL DEFAULT 2
  CHECK(priority BETWEEN 1 AND 4);
ALTER TABLE job_spec ADD COLUMN retention INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN requeue_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN expire_time INTEGER NOT NULL DEFAULT 0;
CREATE INDEX job_by_end ON job(expire_time, end_time) WHERE end_time > 0;
CREATE TABLE control(
  id INTEGER PRIMARY KEY CHECK(id = 1),
  mode INTEGER NOT NULL CHECK(mode BETWEEN 1 AND 3),
  time INTEGER NOT NULL,
  principal TEXT NOT NULL
) STRICT;
)sql",
    // 4: traces. Jobs from before belong to none.
    R"sql(
ALTER TABLE job_spec ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
)sql",
};
static_assert(std::size(kMigrations) == kSqliteSchemaVersion - 1);

absl::Status Refuse(const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
                   message);
}

absl::StatusOr<int64_t> QueryInt(SqliteDatabase& db, const std::string& sql) {
  QUANT_ASSIGN_OR_RETURN(SqliteStatement query, db.Prepare(sql));
  QUANT_ASSIGN_OR_RETURN(bool row, query.Step());
  return row ? query.ColumnInt(0) : 0;
}

absl::StatusOr<std::string> QueryText(SqliteDatabase& db,
                                      const std::string& sql) {
  QUANT_ASSIGN_OR_RETURN(SqliteStatement query, db.Prepare(sql));
  QUANT_ASSIGN_OR_RETURN(bool row, query.Step());
  return row ? query.ColumnBytes(0) : std::string();
}

// All of it or nothing.
absl::Status Transact(SqliteDatabase& db, const std::string& sql) {
  QUANT_RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  absl::Status status = db.Execute(absl::StrCat(sql, "; COMMIT"));
  if (!status.ok() && db.in_transaction()) {
    // The first error is the one to tell.
    db.Execute("ROLLBACK").IgnoreError();
  }
  return status;
}

// The statements that lead from `version` to the present one.
std::string Migration(int64_t version) {
  std::string sql;
  for (int64_t next = version; next < kSqliteSchemaVersion; ++next) {
    absl::StrAppend(&sql, kMigrations[next - 1]);
  }
  absl::StrAppend(&sql,
                  "UPDATE schema_version SET version=", kSqliteSchemaVersion);
  return sql;
}

absl::Status Create(SqliteDatabase& db) {
  return Transact(
      db, absl::StrCat(kSchema, "INSERT INTO schema_version VALUES(1);",
                       Migration(1),
                       "; PRAGMA application_id=", kSqliteApplicationId));
}

// Before anything is written: another program's file stays as it is.
absl::Status CheckOwner(SqliteDatabase& db, const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(int64_t tables,
                         QueryInt(db, "SELECT count(*) FROM sqlite_schema"));
  QUANT_ASSIGN_OR_RETURN(int64_t application,
                         QueryInt(db, "PRAGMA application_id"));
  if (tables == 0 || application == kSqliteApplicationId)
    return absl::OkStatus();
  return Refuse(absl::StrCat(path,
                             ": is a database of another program, not a "
                             "queue; name another file"));
}

absl::Status CheckSchema(SqliteDatabase& db, const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(int64_t tables,
                         QueryInt(db, "SELECT count(*) FROM sqlite_schema"));
  if (tables == 0) return Create(db);
  QUANT_ASSIGN_OR_RETURN(
      int64_t version, QueryInt(db, "SELECT max(version) FROM schema_version"));
  if (version > kSqliteSchemaVersion) {
    return Refuse(absl::StrCat(
        path, ": has schema version ", version, ", this binary knows ",
        kSqliteSchemaVersion,
        "; start the newer quantd that wrote it, or restore a backup"));
  }
  if (version < 1) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kStorageUnavailable,
                     absl::StrCat(path, ": has schema version ", version,
                                  ", which never was; restore a backup"));
  }
  if (version == kSqliteSchemaVersion) return absl::OkStatus();
  return Transact(db, Migration(version));
}

absl::Status CheckIntegrity(SqliteDatabase& db, const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(std::string verdict,
                         QueryText(db, "PRAGMA quick_check(1)"));
  if (verdict == "ok") return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, Reason::kStorageUnavailable,
                   absl::StrCat(path, ": the file is damaged (", verdict,
                                "); restore a backup, or move it away to "
                                "start with an empty queue"));
}

int64_t SizeOf(const std::string& path) {
  absl::StatusOr<FileIdentity> identity = IdentityOf(path);
  return identity.ok() ? identity->size_bytes : 0;
}

}  // namespace

absl::Status CheckFileSystem(int64_t magic, const std::string& path) {
  for (const NetworkFileSystem& row : kNetworkFileSystems) {
    // f_type is 32 bits, signed on some machines.
    if (static_cast<uint32_t>(magic) != static_cast<uint32_t>(row.magic)) {
      continue;
    }
    return Refuse(absl::StrCat(
        path, ": lies on ", row.name,
        "; the queue needs a local disk, because locks of network file "
        "systems can't be trusted"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> OpenSqliteWriter(
    const std::string& path, int64_t max_pages) {
  bool check = SizeOf(path) <= kAlwaysCheckBytes || SizeOf(path + "-wal") > 0;
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> db,
                         SqliteDatabase::Open({.path = path}));
  QUANT_RETURN_IF_ERROR(CheckOwner(*db, path));
  QUANT_ASSIGN_OR_RETURN(std::string mode,
                         QueryText(*db, "PRAGMA journal_mode=WAL"));
  if (mode != "wal") {
    return Refuse(absl::StrCat(path,
                               ": SQLite can't use a write-ahead log "
                               "here (journal mode ",
                               mode, "); name a file on a local disk"));
  }
  QUANT_RETURN_IF_ERROR(db->Execute(
      "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864; "
      "PRAGMA cache_size=-16384"));
  if (max_pages > 0) {
    QUANT_RETURN_IF_ERROR(
        db->Execute(absl::StrCat("PRAGMA max_page_count=", max_pages)));
  }
  QUANT_RETURN_IF_ERROR(CheckSchema(*db, path));
  if (check) QUANT_RETURN_IF_ERROR(CheckIntegrity(*db, path));
  return db;
}

}  // namespace quant

#include "server/queue/sqlite.h"

#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

struct Meaning {
  absl::StatusCode code;
  Reason reason;
  absl::string_view advice;
};

Meaning MeaningOf(int primary_code) {
  switch (primary_code) {
    case SQLITE_FULL:
      return {absl::StatusCode::kResourceExhausted, Reason::kStorageFull,
              "free disk space and try again"};
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOMEM:
      return {absl::StatusCode::kUnavailable, Reason::kStorageUnavailable,
              "try again"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {absl::StatusCode::kDataLoss, Reason::kStorageUnavailable,
              "the file is damaged or is no queue; restore a backup, or move "
              "it away to start with an empty queue"};
    case SQLITE_TOOBIG:
      return {absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
              "the request is too big"};
    default:
      return {absl::StatusCode::kInternal, Reason::kInternal, "a defect"};
  }
}

}  // namespace

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : database_(other.database_),
      statement_(std::exchange(other.statement_, nullptr)),
      bound_(other.bound_),
      bind_error_(other.bind_error_) {}

SqliteStatement::~SqliteStatement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

SqliteStatement& SqliteStatement::Int(int64_t value) {
  int code = sqlite3_bind_int64(statement_, ++bound_, value);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::Text(absl::string_view value) {
  int code = sqlite3_bind_text64(statement_, ++bound_, value.data(),
                                 value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

SqliteStatement& SqliteStatement::Blob(absl::string_view value) {
  // A null pointer would bind NULL.
  int code = value.empty()
                 ? sqlite3_bind_zeroblob(statement_, ++bound_, 0)
                 : sqlite3_bind_blob64(statement_, ++bound_, value.data(),
                                       value.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  if (bind_error_ != SQLITE_OK) return database_->LastError(bind_error_);
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->LastError(code);
}

absl::Status SqliteStatement::Run() { return Step().status(); }

int64_t SqliteStatement::ColumnInt(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string SqliteStatement::ColumnBytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  int size = sqlite3_column_bytes(statement_, column);
  if (data == nullptr || size <= 0) return std::string();
  return std::string(static_cast<const char*>(data), size);
}

absl::StatusOr<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(
    const Options& options) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= options.read_only ? SQLITE_OPEN_READONLY
                             : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* handle = nullptr;
  int code = sqlite3_open_v2(options.path.c_str(), &handle, flags, nullptr);
  std::unique_ptr<SqliteDatabase> database(
      new SqliteDatabase(handle, options.path));
  if (code != SQLITE_OK) return database->LastError(code);
  sqlite3_busy_timeout(handle, options.busy_timeout_ms);
  QUANT_RETURN_IF_ERROR(database->Execute(
      "PRAGMA trusted_schema=OFF; PRAGMA mmap_size=0; PRAGMA foreign_keys=ON"));
  return database;
}

SqliteDatabase::~SqliteDatabase() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(
    const std::string& sql) {
  auto [it, inserted] = statements_.try_emplace(sql, nullptr);
  if (inserted) {
    int code =
        sqlite3_prepare_v3(handle_, sql.c_str(), static_cast<int>(sql.size()),
                           SQLITE_PREPARE_PERSISTENT, &it->second, nullptr);
    if (code != SQLITE_OK) {
      statements_.erase(it);
      return LastError(code);
    }
  }
  return SqliteStatement(*this, it->second);
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return LastError(code);
  return absl::OkStatus();
}

bool SqliteDatabase::in_transaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

absl::Status SqliteDatabase::LastError(int code) const {
  Meaning meaning = MeaningOf(code & 0xff);
  const char* detail =
      handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
  return MakeError(meaning.code, meaning.reason,
                   absl::StrCat(path_, ": ", detail, " (SQLite ", code, "); ",
                                meaning.advice));
}

}  // namespace quant

// SQLite's C interface with owners, bound parameters and our errors.
#ifndef QUANT_SERVER_QUEUE_SQLITE_H_
#define QUANT_SERVER_QUEUE_SQLITE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace quant {

class SqliteDatabase;

// A prepared statement in use: resets itself on destruction. Parameters count
// from 1, columns from 0. Text and blobs are bound without a copy: they must
// outlive the statement's last Step.
class SqliteStatement {
 public:
  SqliteStatement(SqliteDatabase& database, sqlite3_stmt* statement)
      : database_(&database), statement_(statement) {}
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&&) = delete;
  ~SqliteStatement();

  // Binds the next parameter; errors show at Step.
  SqliteStatement& Int(int64_t value);
  SqliteStatement& Text(absl::string_view value);
  SqliteStatement& Text(std::string&& temporary) = delete;
  SqliteStatement& Blob(absl::string_view value);
  SqliteStatement& Blob(std::string&& temporary) = delete;

  // True on a row, false at the end.
  absl::StatusOr<bool> Step();
  // For statements without rows.
  absl::Status Run();

  int64_t ColumnInt(int column) const;
  // Text or blob. A copy.
  std::string ColumnBytes(int column) const;

 private:
  SqliteDatabase* database_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
  int bind_error_ = 0;
};

// One connection, for one thread at a time. Statements are prepared once per
// text and kept.
class SqliteDatabase {
 public:
  struct Options {
    std::string path;
    bool read_only = false;
    int busy_timeout_ms = 5000;
  };
  static absl::StatusOr<std::unique_ptr<SqliteDatabase>> Open(
      const Options& options);
  ~SqliteDatabase();

  // `sql` must be one of few texts: each is cached for good. Not for use while
  // the same text's statement is alive.
  absl::StatusOr<SqliteStatement> Prepare(const std::string& sql);
  // Many statements, no parameters.
  absl::Status Execute(const std::string& sql);
  bool in_transaction() const;
  // The last error as a status that names the file:
  // FULL -> RESOURCE_EXHAUSTED STORAGE_FULL; IOERR, BUSY, CANTOPEN, READONLY,
  // NOMEM -> UNAVAILABLE STORAGE_UNAVAILABLE; CORRUPT, NOTADB -> DATA_LOSS
  // STORAGE_UNAVAILABLE; TOOBIG -> INVALID_ARGUMENT; else INTERNAL.
  absl::Status LastError(int code) const;

 private:
  SqliteDatabase(sqlite3* handle, std::string path)
      : handle_(handle), path_(std::move(path)) {}

  sqlite3* handle_;
  std::string path_;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_SQLITE_H_

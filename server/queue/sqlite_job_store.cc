#include "server/queue/sqlite_job_store.h"

#include <sys/vfs.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/queue/sqlite_job_table.h"
#include "server/queue/sqlite_schema.h"
#include "server/queue/table_job_store.h"

namespace quant {
namespace {

absl::Status CheckPlace(const std::string& path) {
  std::string directory = ParentPath(path);
  if (directory.empty()) directory = ".";
  struct statfs info;
  if (statfs(directory.c_str(), &info) != 0) {
    return ErrnoError(errno, directory);
  }
  return CheckFileSystem(static_cast<int64_t>(info.f_type), path);
}

absl::StatusOr<FileLock> TakeLock(const std::string& path) {
  absl::StatusOr<FileLock> lock = FileLock::Acquire(path + ".lock");
  if (lock.ok() || GetReason(lock.status()) != Reason::kWorkDirLocked) {
    return lock;
  }
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   Reason::kWorkDirLocked,
                   absl::StrCat(path,
                                ": another server has this queue open; "
                                "stop it, or give this one its own data "
                                "directory"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteJobStore(
    const SqliteJobStoreConfig& config) {
  QUANT_RETURN_IF_ERROR(CheckPlace(config.path));
  QUANT_ASSIGN_OR_RETURN(FileLock lock, TakeLock(config.path));
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> writer,
                         OpenSqliteWriter(config.path, config.max_pages));
  return TableJobStore::Start(
      std::make_unique<SqliteJobTable>(std::move(lock), std::move(writer),
                                       config.path, config.cache_bytes),
      config.options, *config.clock);
}

}  // namespace quant

// The queue's rows in SQLite: one writing connection for the writer's thread,
// a few read-only ones for everybody, and a cache of what was written last.
#ifndef QUANT_SERVER_QUEUE_SQLITE_JOB_TABLE_H_
#define QUANT_SERVER_QUEUE_SQLITE_JOB_TABLE_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/file.h"
#include "server/queue/job_table.h"
#include "server/queue/record_cache.h"
#include "server/queue/sqlite.h"

namespace quant {

// Read-only connections, lent one at a time. Thread-safe.
class SqliteReaders {
 public:
  explicit SqliteReaders(std::string path) : path_(std::move(path)) {}

  // Gives its connection back on destruction.
  class Lent {
   public:
    Lent(SqliteReaders& pool, std::unique_ptr<SqliteDatabase> database)
        : pool_(&pool), database_(std::move(database)) {}
    Lent(Lent&&) = default;
    ~Lent() {
      if (database_ != nullptr) pool_->GiveBack(std::move(database_));
    }
    SqliteDatabase& operator*() { return *database_; }

   private:
    SqliteReaders* pool_;
    std::unique_ptr<SqliteDatabase> database_;
  };

  // Waits while all are lent.
  absl::StatusOr<Lent> Take();

 private:
  void GiveBack(std::unique_ptr<SqliteDatabase> database);

  const std::string path_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<SqliteDatabase>> free_;
  int open_ = 0;
};

class SqliteJobTable final : public JobTable {
 public:
  // `lock` is held as long as the table lives.
  SqliteJobTable(FileLock lock, std::unique_ptr<SqliteDatabase> writer,
                 const std::string& path, int64_t cache_bytes);

  absl::StatusOr<std::optional<JobRecord>> Get(const std::string& id) override;
  absl::StatusOr<std::vector<JobRecord>> List(const ListQuery& query) override;
  absl::StatusOr<std::vector<JobRecord>> Expired(
      int64_t now, int64_t ended_by, const ExpiredQuery& query) override;
  absl::StatusOr<std::optional<EventPage>> Events(const std::string& id,
                                                  int64_t after,
                                                  int limit) override;

  absl::StatusOr<std::string> Load(JobIndex& index) override;
  absl::Status Begin() override;
  absl::Status Commit() override;
  void Rollback() override;
  absl::StatusOr<std::optional<JobRecord>> Find(const std::string& id) override;
  absl::Status Insert(const JobRecord& job) override;
  absl::Status Update(const JobRecord& job) override;
  absl::Status Remove(const std::string& id) override;
  absl::Status AppendEvents(const std::string& id,
                            const std::vector<JobEvent>& events) override;
  absl::Status CompactEvents(const std::string& id, int64_t sequence) override;
  absl::StatusOr<std::optional<Request>> FindRequest(
      const std::string& id) override;
  absl::Status PutControl(const QueueControl& control) override;
  absl::Status PutRequest(const Request& request) override;
  absl::Status RemoveRequestsExpiredBy(int64_t now) override;

 private:
  // Parts of Load.
  absl::Status LoadCounts(JobIndex& index);
  absl::Status LoadAttempts(JobIndex& index);
  absl::Status LoadControl(JobIndex& index);
  absl::Status LoadOpenJobs(JobIndex& index);

  FileLock lock_;
  std::unique_ptr<SqliteDatabase> writer_;
  SqliteReaders readers_;
  RecordCache cache_;
  // Of the open transaction; null = removed.
  std::unordered_map<std::string, std::shared_ptr<const JobRecord>> pending_;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_SQLITE_JOB_TABLE_H_

// A JobStore over a JobTable: one thread writes, in group commits. Whatever
// waits while a commit is in flight goes into the next one; a lone command
// does not wait for company.
//
// Threads: callers append to waiting_; the writer runs batches; the feed runs
// callbacks and listeners, so that they overlap with the next commit.
#ifndef QUANT_SERVER_QUEUE_TABLE_JOB_STORE_H_
#define QUANT_SERVER_QUEUE_TABLE_JOB_STORE_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "server/queue/job_commands.h"
#include "server/queue/job_feed.h"
#include "server/queue/job_store.h"
#include "server/queue/job_table.h"

namespace quant {

class TableJobStore final : public JobStore {
 public:
  // `clock` outlives the store. Reads the table's state, then starts.
  static absl::StatusOr<std::unique_ptr<JobStore>> Start(
      std::unique_ptr<JobTable> table, const QueueOptions& options,
      const Clock& clock);
  ~TableJobStore() override;

  void Stop() override;

  void Enqueue(EnqueueRequest request, JobCallback done) override;
  absl::StatusOr<JobRecord> Get(const std::string& id) override;
  absl::StatusOr<std::vector<JobRecord>> List(const ListQuery& query) override;
  absl::StatusOr<std::optional<std::vector<JobEvent>>> Events(
      const std::string& id, int64_t after, int limit) override;
  void RequestCancel(const std::string& id, const std::string& etag,
                     JobCallback done) override;
  void Retry(const std::string& id, const std::string& etag,
             int64_t max_open_jobs, JobCallback done) override;
  void Delete(const std::string& id, const std::string& etag,
              JobCallback done) override;
  absl::StatusOr<QueuePlace> Place(const std::string& id) override;
  absl::StatusOr<std::vector<JobRecord>> Expired(
      const ExpiredQuery& query) override;
  QueueStats Stats() override;
  void SetMode(QueueMode mode, const std::string& principal,
               ControlCallback done) override;
  QueueControl Control() override { return index_.Control(); }

  void Claim(const std::string& owner, JobCallback done) override;
  void Heartbeat(const std::string& id, const std::string& token,
                 JobCallback done) override;
  void Progress(const std::string& id, const std::string& token,
                std::string progress) override;
  void Finish(FinishRequest request, JobCallback done) override;
  absl::StatusOr<int64_t> ReleaseOwner(const std::string& owner) override;
  absl::StatusOr<int64_t> ExpireLeases() override;
  absl::StatusOr<int64_t> ReleaseAllBut(const std::string& owner) override;

  uint64_t Subscribe(const std::string& id,
                     std::function<void(const Change&)> listener) override;
  void Unsubscribe(uint64_t handle) override;
  void SetClaimableListener(std::function<void()> listener) override;

 private:
  // One write: `run` may run more than once (after a rollback), `done` runs
  // once, with what the last run or the transaction answered.
  struct Command {
    std::function<absl::Status(JobCommands&)> run;
    std::function<void(absl::Status)> done;
  };
  using Batch = std::vector<Command>;
  using Steady = std::chrono::steady_clock;

  TableJobStore(std::unique_ptr<JobTable> table, const QueueOptions& options,
                const Clock& clock);

  void Submit(Command command);
  template <typename Answer>
  void SubmitFor(std::function<absl::StatusOr<Answer>(JobCommands&)> run,
                 std::function<void(absl::StatusOr<Answer>)> done);
  void SubmitJob(std::function<absl::StatusOr<JobRecord>(JobCommands&)> run,
                 JobCallback done) {
    SubmitFor<JobRecord>(std::move(run), std::move(done));
  }
  absl::StatusOr<int64_t> EndLeases(
      Cause cause, std::function<bool(const std::string&, int64_t)> match);
  absl::Status CheckRunning() const;

  // --- the writer's thread ---
  void Run();
  // Waits for commands, for progress to write, or for the end of a backoff.
  // False at the end.
  bool NextBatch(Batch& batch);
  Steady::time_point Deadline(Steady::time_point now);
  void RunBatch(Batch batch);
  // Answers of the commands; not OK when the transaction failed as a whole.
  absl::Status Transact(const Batch& batch, std::vector<absl::Status>& answers);
  void Publish(Batch batch, std::vector<absl::Status> answers);

  const QueueOptions options_;
  const Clock& clock_;
  JobIndex index_;
  std::unique_ptr<JobTable> table_;
  std::unique_ptr<JobCommands> commands_;
  JobFeed feed_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Command> waiting_;
  bool progress_waits_ = false;
  std::atomic<bool> stopping_{false};

  Steady::time_point last_progress_write_{};
  std::atomic<int64_t> commits_{0};
  std::atomic<int64_t> committed_commands_{0};
  std::atomic<int64_t> repeats_{0};
  std::atomic<int64_t> fenced_{0};
  std::thread writer_;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_TABLE_JOB_STORE_H_

// The n-th operation on the disk fails, for every n on the way through the life
// of some jobs and the checkpoint behind them: no answer was wrong, the store
// works again when the disk does, and what was acknowledged is in the file.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <map>
#include <set>

#include "server/queue/sqlite_job_store.h"
#include "tests/conformance/job_store/failing_vfs.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using Mode = FailingVfs::Mode;

// What the server's writer does on its own every thousand pages of log. That it
// fails is nobody's answer.
void Checkpoint(const std::string& path) {
  sqlite3* db = nullptr;
  if (sqlite3_open(path.c_str(), &db) == SQLITE_OK) {
    sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr,
                 nullptr);
  }
  sqlite3_close(db);
}

class EveryOperation : public ::testing::TestWithParam<Mode> {
 protected:
  struct Run {
    std::map<std::string, JobState> acknowledged;
    std::set<std::string> unsure;  // whose last command was not acknowledged
  };

  std::unique_ptr<JobStore> Open(const std::string& path) {
    auto opened = OpenSqliteJobStore({.path = path, .clock = &clock_});
    return opened.ok() ? *std::move(opened) : nullptr;
  }

  static void Note(const std::string& id,
                   const absl::StatusOr<JobRecord>& answer, Run& run) {
    if (answer.ok()) {
      run.acknowledged[answer->id] = answer->state;
      run.unsure.erase(answer->id);
      return;
    }
    EXPECT_TRUE(answer.status().code() == absl::StatusCode::kUnavailable ||
                answer.status().code() == absl::StatusCode::kNotFound ||
                answer.status().code() == absl::StatusCode::kFailedPrecondition)
        << answer.status();
    if (!id.empty()) run.unsure.insert(id);
  }

  // Submit three, claim, finish, cancel, with checkpoints between them.
  static void Script(JobStore& store, const std::string& path, Run& run) {
    Queue queue(&store);
    std::vector<std::string> ids;
    for (int i = 0; i < 3; ++i) {
      const auto job = queue.Enqueue({.spec = std::string(3000, 's')});
      Note("", job, run);
      if (job.ok()) ids.push_back(job->id);
    }
    Checkpoint(path);
    // A claim that was not acknowledged may have taken any of them.
    const auto claimed = queue.Claim();
    if (!claimed.ok()) run.unsure.insert(ids.begin(), ids.end());
    Note("", claimed, run);
    if (claimed.ok()) {
      Note(claimed->id, queue.Heartbeat(*claimed), run);
      Note(claimed->id, queue.End(*claimed, Outcome::kSucceeded), run);
    }
    if (ids.size() == 3) Note(ids[2], queue.Cancel(ids[2]), run);
    Checkpoint(path);
  }

  // What the store answers is what was acknowledged.
  static void ExpectKept(JobStore& store, const Run& run) {
    for (const auto& [id, state] : run.acknowledged) {
      const auto job = store.Get(id);
      ASSERT_TRUE(job.ok()) << id << ": " << job.status();
      if (!run.unsure.contains(id)) EXPECT_EQ(job->state, state) << id;
    }
  }

  // One store whose n-th operation fails, and the next on the same file.
  // Answers what failed.
  std::string FailAt(int64_t n) {
    TempDirectory directory;
    const std::string path = directory.path() + "/queue.db";
    Run run;
    vfs_.FailAt(n, GetParam());
    std::unique_ptr<JobStore> store = Open(path);
    if (store != nullptr) Script(*store, path, run);
    std::string failed;
    if (store != nullptr && n % 2 == 0) {
      // The disk works again: so does the store, without a restart.
      failed = vfs_.Heal();
      ExpectKept(*store, run);
      Queue queue(store.get());
      const auto job = queue.Enqueue();
      EXPECT_TRUE(job.ok()) << job.status();
      Note("", job, run);
    }
    store.reset();  // in the other half of the cases still on a bad disk
    const std::string later = vfs_.Heal();
    if (failed.empty()) failed = later;
    store = Open(path);
    EXPECT_NE(store, nullptr);
    if (store != nullptr) ExpectKept(*store, run);
    return failed;
  }

  FailingVfs vfs_;
  ManualClock clock_;
};

TEST_P(EveryOperation, MayFail) {
  std::map<std::string, int> seen;
  for (int64_t n = 1;; ++n) {
    ASSERT_LT(n, 5000);
    SCOPED_TRACE(n);
    const std::string failed = FailAt(n);
    if (HasFailure()) FAIL() << "after a failed " << failed;
    if (failed.empty()) break;
    ++seen[failed];
  }
  for (const auto& [what, count] : seen) {
    std::printf("%4d x a failed %s\n", count, what.c_str());
  }
  // All kinds were met, the log's and the checkpoint's.
  for (const char* what : {"write of queue.db-wal", "sync of queue.db-wal",
                           "write of queue.db", "sync of queue.db"}) {
    EXPECT_GT(seen[what], 0) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(Disk, EveryOperation,
                         ::testing::Values(Mode::kOnce, Mode::kFromThenOn),
                         [](const auto& parameter) {
                           return parameter.param == Mode::kOnce ? "Once"
                                                                 : "FromThenOn";
                         });

}  // namespace
}  // namespace quant::testing

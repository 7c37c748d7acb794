// A disk that is full or fails: clear errors, no harm to what is stored, and
// work again without a restart. Group commit and the cache.
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "server/queue/sqlite_job_store.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using absl::StatusCode;

class SqliteFaults : public ::testing::Test {
 protected:
  void Open(int64_t max_pages, int64_t cache_bytes = 64 << 20) {
    store_.reset();
    auto opened = OpenSqliteJobStore({.path = path_,
                                      .clock = &clock_,
                                      .max_pages = max_pages,
                                      .cache_bytes = cache_bytes});
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    queue_ = Queue(store_.get());
  }

  TempDirectory directory_;
  std::string path_ = directory_.path() + "/queue.db";
  ManualClock clock_;
  std::unique_ptr<JobStore> store_;
  Queue queue_{nullptr};
};

TEST_F(SqliteFaults, AFullDiskIsSaidAndSurvived) {
  Open(100);
  std::vector<std::string> ids;
  absl::Status full;
  while (full.ok()) {
    ASSERT_LT(ids.size(), 1000u);
    auto job = queue_.Enqueue({.spec = std::string(2000, 's')});
    if (job.ok()) {
      ids.push_back(job->id);
    } else {
      full = job.status();
    }
  }
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(GetReason(full), Reason::kStorageFull);
  ASSERT_GT(ids.size(), 10u);

  // Nothing is lost, and memory agrees with the file.
  for (const std::string& id : ids) EXPECT_TRUE(store_->Get(id).ok());
  EXPECT_EQ(store_->List({.limit = 2000})->size(), ids.size());
  EXPECT_EQ(store_->Stats().jobs[JobState::kQueued],
            static_cast<int64_t>(ids.size()));
  EXPECT_EQ(store_->Place(ids.back())->position,
            static_cast<int64_t>(ids.size()) - 1);

  // Room comes from deleting; then the queue takes jobs again.
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(queue_.Cancel(ids[i]).ok());
    ASSERT_TRUE(queue_.Delete(ids[i]).ok());
  }
  auto again = queue_.Enqueue({.spec = std::string(2000, 's')});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(queue_.Claim()->id, ids[10]);
  Open(0);
  EXPECT_EQ(store_->List({.limit = 2000})->size(), ids.size() - 10 + 1);
}

// All commands of a batch hear of a failed commit.
TEST_F(SqliteFaults, EachCommandOfAFailedBatchIsAnswered) {
  Open(60);
  std::atomic<int> stored{0}, full{0}, others{0};
  for (int i = 0; i < 500; ++i) {
    store_->Enqueue(
        {.spec = std::string(2000, 's')}, [&](absl::StatusOr<JobRecord> job) {
          if (job.ok()) {
            ++stored;
          } else {
            ++(GetReason(job.status()) == Reason::kStorageFull ? full : others);
          }
        });
  }
  ASSERT_TRUE(Eventually([&] { return stored + full + others == 500; }));
  EXPECT_GT(full, 0);
  EXPECT_EQ(others, 0);
  EXPECT_EQ(store_->Stats().jobs[JobState::kQueued], stored);
  Open(0);
  EXPECT_EQ(store_->Stats().jobs[JobState::kQueued], stored);
}

// No file may grow beyond a limit: the log's writes fail as on a bad disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_;
  sighandler_t old_handler_;
};

TEST_F(SqliteFaults, FailedWritesAreSaidAndSurvived) {
  Open(0);
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(queue_.Enqueue()->id);
  JobRecord running = *queue_.Claim();
  int64_t log_bytes = IdentityOf(path_ + "-wal")->size_bytes;
  {
    FileSizeLimit limit(static_cast<rlim_t>(log_bytes + 100));
    auto refused = queue_.Enqueue();
    ASSERT_FALSE(refused.ok());
    EXPECT_TRUE(refused.status().code() == StatusCode::kUnavailable ||
                refused.status().code() == StatusCode::kResourceExhausted)
        << refused.status();
    // The lease is as it was: neither ended nor half ended.
    EXPECT_FALSE(queue_.End(running, Outcome::kSucceeded).ok());
    EXPECT_EQ(store_->Get(running.id)->state, JobState::kRunning);
    EXPECT_FALSE(queue_.Claim().ok());
    EXPECT_EQ(store_->Place(ids[1])->position, 0);
    EXPECT_EQ(store_->Stats().jobs[JobState::kQueued], 19);
  }
  EXPECT_TRUE(queue_.End(running, Outcome::kSucceeded).ok());
  EXPECT_EQ(queue_.Claim()->id, ids[1]);
  ids.push_back(queue_.Enqueue()->id);
  Open(0);
  for (const std::string& id : ids) EXPECT_TRUE(store_->Get(id).ok());
  EXPECT_EQ(store_->Get(running.id)->state, JobState::kSucceeded);
}

// A write that the database itself refuses, for no reason of the disk's.
TEST_F(SqliteFaults, ASpoiledCommandDoesNotFailItsNeighbours) {
  Open(0);
  store_.reset();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db,
                         "CREATE TRIGGER refuse BEFORE INSERT ON job_spec"
                         " WHEN NEW.spec = x'626164'"
                         " BEGIN SELECT RAISE(ABORT, 'bad spec'); END",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  Open(0);
  std::atomic<int> stored{0}, refused{0}, others{0};
  for (int i = 0; i < 300; ++i) {
    bool bad = i % 50 == 7;
    store_->Enqueue({.spec = bad ? "bad" : "good"},
                    [&, bad](absl::StatusOr<JobRecord> job) {
                      if (job.ok() != bad) {
                        ++(bad ? refused : stored);
                      } else {
                        ++others;
                      }
                    });
  }
  ASSERT_TRUE(Eventually([&] { return stored + refused + others == 300; }));
  EXPECT_EQ(refused, 6);
  EXPECT_EQ(stored, 294);
  EXPECT_EQ(store_->List({.limit = 1000})->size(), 294u);
  EXPECT_EQ(store_->Stats().jobs[JobState::kQueued], 294);
}

TEST_F(SqliteFaults, CommandsShareCommits) {
  Open(0);
  std::atomic<int> answered{0};
  for (int i = 0; i < 2000; ++i) {
    store_->Enqueue({.spec = "s"}, [&](absl::StatusOr<JobRecord> job) {
      EXPECT_TRUE(job.ok()) << job.status();
      ++answered;
    });
  }
  ASSERT_TRUE(Eventually([&] { return answered == 2000; }));
  QueueStats stats = store_->Stats();
  EXPECT_EQ(stats.commands, 2000);
  EXPECT_LT(stats.commits, 1000);
  // A lone command is a commit of its own.
  ASSERT_TRUE(queue_.Enqueue().ok());
  EXPECT_EQ(store_->Stats().commits, stats.commits + 1);
}

TEST_F(SqliteFaults, ATinyCacheChangesNothing) {
  Open(0, 16 * 3000);
  std::vector<std::string> ids;
  for (int i = 0; i < 300; ++i) {
    ids.push_back(queue_.Enqueue({.spec = absl::StrCat("spec", i)})->id);
  }
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(store_->Get(ids[i])->spec, absl::StrCat("spec", i));
    ASSERT_TRUE(queue_.Cancel(ids[i]).ok());
    EXPECT_EQ(store_->Get(ids[i])->state, JobState::kCancelled);
  }
}

}  // namespace
}  // namespace quant::testing

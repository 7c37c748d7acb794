// What only a durable backend promises: it is all there after a restart, after
// kill -9, and files it should not touch are refused.
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "server/queue/sqlite_job_store.h"
#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

using absl::StatusCode;

class SqliteStore : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<JobStore>> TryOpen(int64_t cache_bytes = 0) {
    return OpenSqliteJobStore(
        {.path = path_, .clock = &clock_, .cache_bytes = cache_bytes});
  }
  void Open() {
    auto opened = TryOpen();
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    queue_ = Queue(store_.get());
  }
  void Reopen() {
    store_.reset();
    Open();
  }
  void ExecuteSql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error),
              SQLITE_OK)
        << error;
    sqlite3_close(db);
  }

  TempDirectory directory_;
  std::string path_ = directory_.path() + "/queue.db";
  ManualClock clock_;
  std::unique_ptr<JobStore> store_;
  Queue queue_{nullptr};
};

void ExpectSameJob(const JobRecord& a, const JobRecord& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.spec, b.spec);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.owner, b.owner);
  EXPECT_EQ(a.traceparent, b.traceparent);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.state_reason, b.state_reason);
  EXPECT_EQ(a.attempt, b.attempt);
  EXPECT_EQ(a.max_attempts, b.max_attempts);
  EXPECT_EQ(a.attempts_forgiven, b.attempts_forgiven);
  EXPECT_EQ(a.crashes_in_a_row, b.crashes_in_a_row);
  EXPECT_EQ(a.lease_token, b.lease_token);
  EXPECT_EQ(a.lease_owner, b.lease_owner);
  EXPECT_EQ(a.lease_until, b.lease_until);
  EXPECT_EQ(a.run_after, b.run_after);
  EXPECT_EQ(a.progress, b.progress);
  EXPECT_EQ(a.result, b.result);
  EXPECT_EQ(a.error, b.error);
  EXPECT_EQ(a.artifacts, b.artifacts);
  EXPECT_EQ(a.event_sequence, b.event_sequence);
  EXPECT_EQ(a.create_time, b.create_time);
  EXPECT_EQ(a.start_time, b.start_time);
  EXPECT_EQ(a.end_time, b.end_time);
  EXPECT_EQ(a.update_time, b.update_time);
}

TEST_F(SqliteStore, ReopenKeepsEverything) {
  Open();
  for (int i = 0; i < 7; ++i) {
    EnqueueRequest request{.spec = absl::StrCat("spec", i),
                           .labels = {{"n", absl::StrCat(i)}},
                           .owner = {absl::StrCat("t", i), "p"}};
    request.request_id = absl::StrCat("request", i);
    ASSERT_TRUE(queue_.Enqueue(request).ok());
    clock_.Advance(kSecond);
  }
  FinishRequest finish;
  JobRecord job = *queue_.Claim();
  finish = {.id = job.id, .lease_token = job.lease_token, .error = "e"};
  finish.result = "r";
  finish.artifacts = {"a", "b"};
  ASSERT_TRUE(queue_.Finish(finish).ok());
  ASSERT_TRUE(queue_.End(*queue_.Claim(), Outcome::kPermanentFailure).ok());
  ASSERT_TRUE(queue_.End(*queue_.Claim(), Outcome::kCrashed).ok());
  JobRecord running = *queue_.Claim();
  store_->Progress(running.id, running.lease_token, "half");
  ASSERT_TRUE(queue_.Cancel(queue_.Claim()->id).ok());
  std::vector<JobRecord> before = *store_->List({.limit = 100});
  std::vector<JobEvent> events = queue_.AllEvents(job.id);
  QueueStats stats = store_->Stats();
  int64_t position = store_->Place(before[0].id)->position;

  Reopen();
  std::vector<JobRecord> after = *store_->List({.limit = 100});
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); ++i) {
    ExpectSameJob(after[i], before[i]);
    ExpectSameJob(*store_->Get(after[i].id), before[i]);
  }
  EXPECT_EQ(queue_.AllEvents(job.id).size(), events.size());
  EXPECT_EQ(store_->Stats().jobs, stats.jobs);
  EXPECT_EQ(store_->Place(before[0].id)->position, position);
  EnqueueRequest repeat{.spec = "spec0", .owner = {"t0", "p"}};
  repeat.request_id = "request0";
  EXPECT_EQ(queue_.Enqueue(repeat)->id, job.id);
  // The former lease still holds, until it is released.
  EXPECT_TRUE(queue_.Heartbeat(running).ok());
  EXPECT_EQ(*store_->ReleaseAllBut("new incarnation"), 2);
  EXPECT_REASON(queue_.Heartbeat(running), StatusCode::kAborted,
                Reason::kLeaseLost);
}

TEST_F(SqliteStore, IdsGoOnAfterAClockThatWentBack) {
  Open();
  std::string last = queue_.Enqueue()->id;
  clock_.Advance(-3600 * kSecond);
  Reopen();
  EXPECT_GT(queue_.Enqueue()->id, last);
}

// The child enqueues without end and writes each id to a pipe once `done` has
// said that it is durable; it dies at a random moment.
[[noreturn]] void EnqueueUntilKilled(const std::string& path, int out) {
  auto store = OpenSqliteJobStore({.path = path});
  if (!store.ok()) _exit(1);
  std::atomic<int> in_flight{0};
  while (true) {
    while (in_flight >= 64) std::this_thread::yield();
    ++in_flight;
    (*store)->Enqueue({.spec = std::string(300, 's')},
                      [&in_flight, out](absl::StatusOr<JobRecord> job) {
                        std::string line = job.ok() ? job->id : "failed";
                        line += "\n";
                        if (write(out, line.data(), line.size()) < 0) _exit(2);
                        --in_flight;
                      });
  }
}

// Ids from the pipe, until `count` came (then the child dies) and the rest.
std::vector<std::string> ReadAndKill(int in, pid_t child, size_t count) {
  std::string text;
  char buffer[4096];
  bool killed = false;
  for (ssize_t n; (n = read(in, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, n);
    if (!killed && text.size() / 27 >= count) {
      kill(child, SIGKILL);
      killed = true;
    }
  }
  std::vector<std::string> ids;
  for (size_t at = 0; at + 27 <= text.size(); at += 27) {
    ids.push_back(text.substr(at, 26));
  }
  return ids;
}

TEST_F(SqliteStore, WhatWasAcknowledgedSurvivesKill) {
  std::mt19937 random(20240607);
  std::vector<std::string> all;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(ends[0]);
      EnqueueUntilKilled(path_, ends[1]);
    }
    close(ends[1]);
    std::vector<std::string> ids =
        ReadAndKill(ends[0], child, 1 + random() % 1500);
    close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_FALSE(ids.empty());
    all.insert(all.end(), ids.begin(), ids.end());

    Open();
    for (const std::string& id : all) {
      absl::StatusOr<JobRecord> job = store_->Get(id);
      ASSERT_TRUE(job.ok()) << "round " << round << ": " << job.status();
      ASSERT_EQ(job->spec.size(), 300u);
    }
    // Nothing half-made: whatever is listed is whole.
    EXPECT_GE(store_->Stats().jobs[JobState::kQueued],
              static_cast<int64_t>(all.size()));
    store_.reset();
  }
  RecordProperty("acknowledged", static_cast<int>(all.size()));
}

TEST_F(SqliteStore, ASecondServerIsRefused) {
  Open();
  JobRecord job = *queue_.Enqueue();
  auto second = TryOpen();
  EXPECT_REASON(second, StatusCode::kFailedPrecondition,
                Reason::kWorkDirLocked);
  EXPECT_TRUE(absl::StrContains(second.status().message(), path_))
      << second.status();
  EXPECT_TRUE(store_->Get(job.id).ok());
  EXPECT_TRUE(queue_.Enqueue().ok());
}

TEST_F(SqliteStore, ANewerSchemaIsRefused) {
  Open();
  std::string id = queue_.Enqueue()->id;
  store_.reset();
  ExecuteSql("UPDATE schema_version SET version = version + 1");
  auto refused = TryOpen();
  EXPECT_REASON(refused, StatusCode::kFailedPrecondition, Reason::kUnsupported);
  EXPECT_TRUE(absl::StrContains(refused.status().message(), "newer quantd"))
      << refused.status();
  ExecuteSql("UPDATE schema_version SET version = version - 1");
  Open();
  EXPECT_TRUE(store_->Get(id).ok());
}

// Takes away what versions 3 and 4 brought.
constexpr char kSinceVersion2[] =
    "ALTER TABLE job_spec DROP COLUMN traceparent; "
    "DROP TABLE control; DROP INDEX job_by_end; "
    "ALTER TABLE job_spec DROP COLUMN priority; "
    "ALTER TABLE job_spec DROP COLUMN retention; "
    "ALTER TABLE job DROP COLUMN requeue_time; "
    "ALTER TABLE job DROP COLUMN expire_time; "
    "UPDATE schema_version SET version = 2";

TEST_F(SqliteStore, AQueueWithoutPrioritiesIsMigrated) {
  Open();
  const std::string old =
      queue_.Enqueue({.spec = "old", .owner = {.tenant = "t"}})->id;
  store_.reset();
  ExecuteSql(kSinceVersion2);
  Open();
  EXPECT_EQ(store_->Get(old)->priority, kNormalPriority);
  EXPECT_EQ(store_->Get(old)->owner.tenant, "t");
  EXPECT_EQ(store_->Get(old)->traceparent, "");
  const std::string normal = queue_.Enqueue()->id;
  const std::string urgent = queue_
                                 .Enqueue({.spec = "new",
                                           .priority = kMostPriority,
                                           .traceparent = "00-1-2-01"})
                                 ->id;
  Reopen();
  EXPECT_EQ(store_->Get(urgent)->traceparent, "00-1-2-01");
  for (const std::string& id : {urgent, old, normal}) {
    EXPECT_EQ(queue_.Claim()->id, id);
  }
}

TEST_F(SqliteStore, ModeAndEstimatesSurviveARestart) {
  Open();
  queue_.Enqueue();
  ASSERT_TRUE(queue_.End(*queue_.Claim(), Outcome::kSucceeded).ok());
  const std::string id = queue_.Enqueue()->id;
  const QueueControl paused = *queue_.SetMode(QueueMode::kPaused, "op");
  const int64_t mean = store_->Stats().mean_attempt_micros;
  EXPECT_GT(mean, 0);
  Reopen();
  EXPECT_EQ(store_->Control().mode, QueueMode::kPaused);
  EXPECT_EQ(store_->Control().principal, "op");
  EXPECT_EQ(store_->Control().time, paused.time);
  EXPECT_EQ(store_->Stats().mean_attempt_micros, mean);
  EXPECT_REASON(queue_.Claim(), StatusCode::kNotFound, Reason::kJobNotFound);
  ASSERT_TRUE(queue_.SetMode(QueueMode::kOpen).ok());
  Reopen();
  EXPECT_EQ(queue_.Claim()->id, id);
}

// What the first release wrote, brought to the schema of today.
TEST_F(SqliteStore, AnOlderSchemaIsMigrated) {
  Open();
  const std::string id =
      queue_.Enqueue({.spec = "spec", .labels = {{"k", "v"}}})->id;
  store_.reset();
  ExecuteSql(kSinceVersion2);
  ExecuteSql(
      "DROP INDEX job_by_tenant; ALTER TABLE job_spec DROP COLUMN tenant; "
      "ALTER TABLE job_spec DROP COLUMN principal; "
      "UPDATE schema_version SET version = 1");
  Open();
  const JobRecord job = *store_->Get(id);
  EXPECT_EQ(job.spec, "spec");
  EXPECT_EQ(job.labels.at("k"), "v");
  EXPECT_EQ(job.owner, JobOwner());
  ASSERT_TRUE(queue_.Enqueue({.spec = "new", .owner = {.tenant = "t"}}).ok());
  Reopen();
  EXPECT_EQ(store_->List({.limit = 10})->size(), 2u);
  EXPECT_EQ(store_->List({.limit = 10, .tenant = "t"})->size(), 1u);
}

TEST_F(SqliteStore, AForeignDatabaseIsRefusedUntouched) {
  ExecuteSql("CREATE TABLE cats(name); INSERT INTO cats VALUES('Minka')");
  std::string before = *ReadFile(path_, 1 << 20);
  EXPECT_REASON(TryOpen(), StatusCode::kFailedPrecondition,
                Reason::kUnsupported);
  EXPECT_EQ(*ReadFile(path_, 1 << 20), before);
}

TEST_F(SqliteStore, AFileThatIsNoDatabase) {
  std::ofstream(path_) << std::string(10'000, 'x');
  auto refused = TryOpen();
  EXPECT_REASON(refused, StatusCode::kDataLoss, Reason::kStorageUnavailable);
  EXPECT_TRUE(absl::StrContains(refused.status().message(), path_));
  // Not repaired by throwing it away.
  EXPECT_EQ(IdentityOf(path_)->size_bytes, 10'000);
}

TEST_F(SqliteStore, ADamagedPage) {
  Open();
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(queue_.Enqueue({.spec = std::string(500, 's')}).ok());
  }
  store_.reset();
  int64_t size = IdentityOf(path_)->size_bytes;
  ASSERT_GT(size, 100'000);
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    for (int64_t at = 8 * 4096; at + 4096 < size; at += 4096) {
      file.seekp(at);
      file << std::string(64, '\xee');
    }
  }
  auto refused = TryOpen();
  EXPECT_REASON(refused, StatusCode::kDataLoss, Reason::kStorageUnavailable);
  EXPECT_TRUE(absl::StrContains(refused.status().message(), "backup"))
      << refused.status();
}

TEST_F(SqliteStore, ATruncatedFile) {
  Open();
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(queue_.Enqueue().ok());
  store_.reset();
  ASSERT_EQ(truncate(path_.c_str(), IdentityOf(path_)->size_bytes / 2), 0);
  EXPECT_REASON(TryOpen(), StatusCode::kDataLoss, Reason::kStorageUnavailable);
}

TEST_F(SqliteStore, ADirectoryThatIsNotThere) {
  path_ = directory_.path() + "/missing/queue.db";
  auto refused = TryOpen();
  EXPECT_EQ(refused.status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(refused.status().message(), "/missing"));
}

}  // namespace
}  // namespace quant::testing

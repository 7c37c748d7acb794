// Cancellations, kills, drains and lost leases, with real processes.
#include <signal.h>

#include <chrono>
#include <future>

#include "core/base/error.h"
#include "core/base/sanitizer.h"
#include "tests/server/worker/worker_test_base.h"

namespace quant {
namespace {

// Of an attempt: half of Slow() must fit.
constexpr int kTimeoutSeconds = QUANT_SANITIZED ? 90 : 10;

class FaultsTest : public WorkerTest {
 protected:
  v1::JobSpec Slow() { return Spec(SlowModel(), "mse"); }
  JobRecord Claim(const std::string& owner) {
    std::promise<absl::StatusOr<JobRecord>> claimed;
    jobs_->Claim(owner, [&](absl::StatusOr<JobRecord> job) {
      claimed.set_value(std::move(job));
    });
    const auto job = claimed.get_future().get();
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : JobRecord();
  }
  static double Metric(const JobRecord& job, const char* name) {
    const auto result = ResultOf(job);
    const auto it = result.metrics().find(name);
    return it == result.metrics().end() ? -1 : it->second;
  }
  // Finished by two attempts or more, as if by one.
  void ExpectResumed(const JobRecord& job, const v1::JobSpec& spec) {
    EXPECT_EQ(job.state, JobState::kSucceeded) << job.state_reason;
    EXPECT_EQ(job.artifacts.size(), 1u);
    EXPECT_EQ(Published(job.id), Direct(spec));
    EXPECT_LE(Metric(job, "tensors_redone"), 1);
    EXPECT_GE(Metric(job, "tensors_resumed"), 3);
  }
};

TEST_F(FaultsTest, CancelStopsWithinSeconds) {
  const std::string id = Enqueue(Slow());
  StartPool();
  WaitForHalf(id);
  const auto started = std::chrono::steady_clock::now();
  Cancel(id);
  const JobRecord job = WaitForEnd(id);
  EXPECT_LT(std::chrono::steady_clock::now() - started,
            std::chrono::seconds(8));
  EXPECT_EQ(job.state, JobState::kCancelled);
  EXPECT_TRUE(job.artifacts.empty());
  EXPECT_TRUE(Published(id).empty());
  EXPECT_TRUE(Eventually([&] { return !HasWork(id); }));
  // The slot is free again.
  EXPECT_EQ(WaitForEnd(Enqueue(Spec(SmallModel()))).state,
            JobState::kSucceeded);
}

TEST_F(FaultsTest, AChildThatDoesNotStopIsKilled) {
  const std::string id = Enqueue(Slow());
  StartPool([](WorkerOptions& options) {
    options.timing.stop_grace_micros = 200'000;
  });
  WaitForHalf(id);
  ASSERT_TRUE(Signal(WaitForChild(), SIGSTOP));
  Cancel(id);
  EXPECT_EQ(WaitForEnd(id).state, JobState::kCancelled);
  EXPECT_TRUE(Published(id).empty());
}

TEST_F(FaultsTest, AKilledChildCostsOneTensor) {
  const v1::JobSpec spec = Slow();
  const std::string id = Enqueue(spec);
  StartPool();
  WaitForHalf(id);
  ASSERT_TRUE(Signal(WaitForChild(), SIGKILL));
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.attempt, 2);
  ExpectResumed(job, spec);
}

// As one that never ends: the child is ended, and a retry goes on with its
// work.
TEST_F(FaultsTest, AnAttemptThatTakesTooLongFailsTheJob) {
  v1::JobSpec spec = Slow();
  spec.mutable_timeout()->set_seconds(kTimeoutSeconds);
  const std::string id = Enqueue(spec);
  StartPool();
  WaitForHalf(id);
  const pid_t child = WaitForChild();
  ASSERT_TRUE(Signal(child, SIGSTOP));
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "JOB_TIMEOUT");
  EXPECT_EQ(ErrorOf(job), Reason::kJobTimeout);
  EXPECT_EQ(job.attempt, 1);
  EXPECT_TRUE(Eventually([] { return Children().empty(); }));
  EXPECT_TRUE(Published(id).empty());
  ASSERT_TRUE(HasWork(id));
  jobs_->Retry(id, "", 0, [](absl::StatusOr<JobRecord>) {});
  const JobRecord retried = WaitFor(id, [](const JobRecord& job) {
    return IsTerminal(job.state) && job.attempt == 2;
  });
  ExpectResumed(retried, spec);
}

TEST_F(FaultsTest, ADrainedQueueTakesItsJobsBack) {
  const v1::JobSpec spec = Slow();
  const std::string id = Enqueue(spec);
  StartPool();
  WaitForHalf(id);
  jobs_->SetMode(QueueMode::kDraining, "", [](auto) {});
  WaitForState(id, JobState::kQueued);
  EXPECT_EQ(Job(id).attempt, 0);
  EXPECT_EQ(Job(id).state_reason, "DRAINED");
  EXPECT_TRUE(Eventually([] { return Children().empty(); }));
  const std::string later = Enqueue(Spec(SmallModel()));
  jobs_->SetMode(QueueMode::kOpen, "", [](auto) {});
  ExpectResumed(WaitForEnd(id), spec);
  EXPECT_EQ(WaitForEnd(later).state, JobState::kSucceeded);
}

TEST_F(FaultsTest, KillsWithoutProgressArePoison) {
  const std::string id = Enqueue(Slow());
  StartPool();
  std::vector<pid_t> known;
  for (int i = 0; i < 3; ++i) {
    known.push_back(WaitForChild(known));
    ASSERT_TRUE(Signal(known.back(), SIGKILL));
  }
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "POISON");
  EXPECT_EQ(job.attempt, 3);
  EXPECT_EQ(ErrorOf(job), Reason::kWorkerCrashed);
  EXPECT_TRUE(Published(id).empty());
}

TEST_F(FaultsTest, ADrainGivesTheAttemptBack) {
  const v1::JobSpec spec = Slow();
  const std::string id = Enqueue(spec);
  StartPool();
  WaitForHalf(id);
  const auto started = std::chrono::steady_clock::now();
  pool_->Drain();
  EXPECT_LT(std::chrono::steady_clock::now() - started,
            std::chrono::seconds(8));
  EXPECT_TRUE(Children().empty());
  const JobRecord drained = Job(id);
  EXPECT_EQ(drained.state, JobState::kQueued);
  EXPECT_EQ(drained.state_reason, "DRAINED");
  EXPECT_EQ(drained.attempt, 0);
  EXPECT_TRUE(drained.lease_token.empty());
  EXPECT_TRUE(Published(id).empty());
  pool_->Drain();
  StartPool();
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.attempt, 1);
  ExpectResumed(job, spec);
}

// A service manager may stop the whole control group, children first.
TEST_F(FaultsTest, ATerminatedChildGivesTheAttemptBack) {
  const v1::JobSpec spec = Slow();
  const std::string id = Enqueue(spec);
  StartPool();
  WaitForHalf(id);
  ASSERT_TRUE(Signal(WaitForChild(), SIGTERM));
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.attempt, 1);
  ExpectResumed(job, spec);
}

TEST_F(FaultsTest, AnExpiredLeaseStopsTheChild) {
  OpenJobs({}, &clock_);
  const v1::JobSpec spec = Slow();
  const std::string id = Enqueue(spec);
  // No heartbeat comes in time.
  StartPool([](WorkerOptions& options) {
    options.timing.heartbeat_micros = 3'600'000'000;
    options.timing.give_up_micros = 7'200'000'000;
  });
  WaitForHalf(id);
  clock_.Advance(61'000'000);
  const JobRecord expired = WaitForState(id, JobState::kQueued);
  EXPECT_EQ(expired.crashes_in_a_row, 1);
  EXPECT_TRUE(Eventually([] { return Children().empty(); }));
  EXPECT_TRUE(Published(id).empty());
  EXPECT_TRUE(HasWork(id)) << "the next attempt goes on with it";
  EXPECT_EQ(Job(id).attempt, 1);
  clock_.Advance(3'600'000'000);
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.attempt, 2);
  ExpectResumed(job, spec);
  EXPECT_THAT(metrics_.Render(), ::testing::HasSubstr("lease"));
}

// The runner alone, so that nobody else claims the job.
TEST_F(FaultsTest, ALeaseOfAnotherOwnerIsRespected) {
  const v1::JobSpec spec = Slow();
  const std::string id = Enqueue(spec);
  const JobRecord job = Claim("one");
  worker::v1::AttemptRequest request;
  request.set_job(id);
  *request.mutable_spec() = spec;
  request.set_source_path(SlowModel());
  request.set_work_dir(*artifacts_->WorkDirectory(id));
  request.set_threads(1);
  auto child = ChildProcess::Start("/proc/self/exe");
  ASSERT_TRUE(child.ok()) << child.status();
  Waker waker;
  MemoryBudget memory(0);
  const AttemptTiming timing;
  const std::atomic<bool> draining = false;
  JobLogs::Writer log(*logs_, {.job_id = id});
  const AttemptHost host = {.jobs = *jobs_,
                            .memory = memory,
                            .timing = timing,
                            .waker = waker,
                            .draining = draining,
                            .log = log};
  auto end = std::async(std::launch::async, [&] {
    return RunInChild(host, job, request, *std::move(child));
  });
  WaitForHalf(id);
  ASSERT_EQ(*jobs_->ReleaseOwner("one"), 1);
  const JobRecord other = Claim("two");
  ASSERT_EQ(end.wait_for(std::chrono::minutes(1)), std::future_status::ready);
  const AttemptEnd lost = end.get();
  EXPECT_TRUE(lost.lease_lost);
  EXPECT_TRUE(lost.journal_advanced);
  EXPECT_FALSE(lost.result.has_value());
  EXPECT_EQ(lost.exit_text, "killed by signal 9 (Killed)");
  EXPECT_EQ(Job(id).state, JobState::kRunning);
  EXPECT_EQ(Job(id).lease_token, other.lease_token);
}

// Nobody can say whether the lease still holds.
TEST_F(FaultsTest, WithoutConfirmedHeartbeatsTheChildStops) {
  OpenJobs({}, &clock_);
  const std::string id = Enqueue(Slow());
  StartPool([](WorkerOptions& options) {
    options.timing.heartbeat_micros = 3'600'000'000;
    options.timing.give_up_micros = 500'000;
    options.poll_micros = 3'600'000'000;
  });
  WaitForChild();
  EXPECT_TRUE(Eventually([] { return Children().empty(); }));
  pool_->Drain();
  const JobRecord job = Job(id);
  EXPECT_EQ(job.state, JobState::kRunning) << "left to the lease's end";
  EXPECT_EQ(job.lease_owner, "test");
  EXPECT_TRUE(Published(id).empty());
}

}  // namespace
}  // namespace quant

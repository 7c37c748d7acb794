// Attempts share memory: who waits, who is refused, and what jobs show of it.
#include "server/worker/memory_budget.h"

#include <signal.h>

#include <chrono>

#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"
#include "core/recipe/recipe.h"
#include "tests/server/worker/worker_test_base.h"

namespace quant {
namespace {

TEST(MemoryBudgetTest, GrantsInTheOrderOfAskingAndNeverBeyondTheLimit) {
  MemoryBudget budget(100);
  int granted = 0;
  const auto count = [&] { ++granted; };
  auto a = *budget.Ask(60, count);
  auto b = *budget.Ask(60, count);
  auto c = *budget.Ask(10, count);
  EXPECT_TRUE(a->granted());
  EXPECT_FALSE(b->granted());
  EXPECT_FALSE(c->granted()) << "it would fit, but overtakes";
  EXPECT_EQ(budget.granted_bytes(), 60);
  a.reset();
  EXPECT_TRUE(b->granted());
  EXPECT_TRUE(c->granted());
  EXPECT_EQ(granted, 2) << "a did not have to wait";
  EXPECT_EQ(budget.granted_bytes(), 70);
}

TEST(MemoryBudgetTest, WhoGivesUpMakesRoomForTheNext) {
  MemoryBudget budget(100);
  auto a = *budget.Ask(60, [] {});
  auto b = *budget.Ask(80, [] {});
  auto c = *budget.Ask(40, [] {});
  b.reset();
  EXPECT_TRUE(c->granted());
  EXPECT_EQ(budget.granted_bytes(), 100);
}

TEST(MemoryBudgetTest, RefusesWhatNeverFits) {
  MemoryBudget budget(100);
  const auto share = budget.Ask(101, [] {});
  EXPECT_EQ(share.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(share.status()), Reason::kPlanRefused);
  EXPECT_TRUE(MemoryBudget(0).Ask(int64_t{1} << 60, [] {}).ok());
}

class MemoryTest : public WorkerTest {
 protected:
  int64_t BoundOf(const v1::JobSpec& spec) {
    const auto model = *OpenModel(spec.source().server_path());
    return MakePlan(*model, *ToPlanRequest(spec, /*threads=*/1))
        ->memory_bound_bytes;
  }
};

TEST_F(MemoryTest, OneJobWaitsForTheOthersMemory) {
  const v1::JobSpec spec = Spec(SlowModel(), "mse");
  const int64_t bound = BoundOf(spec);
  const std::string first = Enqueue(spec);
  const std::string second = Enqueue(spec);
  StartPool([&](WorkerOptions& options) {
    options.slots = 2;
    options.memory_limit_bytes = bound * 3 / 2;
  });
  const auto waits = [](const JobRecord& job) {
    v1::Progress progress;
    return progress.ParseFromString(job.progress) &&
           progress.stage() == "WAITING_FOR_MEMORY";
  };
  EXPECT_TRUE(
      Eventually([&] { return waits(Job(first)) || waits(Job(second)); }));
  EXPECT_EQ(WaitForEnd(first).state, JobState::kSucceeded);
  EXPECT_EQ(WaitForEnd(second).state, JobState::kSucceeded);
}

TEST_F(MemoryTest, TheWaitForMemoryIsNoneOfTheTimeout) {
  const v1::JobSpec spec = Spec(SlowModel(), "mse");
  v1::JobSpec small = Spec(SmallModel());
  small.mutable_timeout()->set_seconds(1);
  const std::string first = Enqueue(spec);
  StartPool([&](WorkerOptions& options) {
    options.slots = 2;
    options.memory_limit_bytes = BoundOf(spec) + 1;
  });
  WaitForHalf(first);
  const pid_t holder = WaitForChild();
  ASSERT_TRUE(Signal(holder, SIGSTOP));
  const std::string second = Enqueue(small);
  WaitFor(second, [](const JobRecord& job) {
    v1::Progress progress;
    return progress.ParseFromString(job.progress) &&
           progress.stage() == "WAITING_FOR_MEMORY";
  });
  const auto later =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  EXPECT_TRUE(
      Eventually([&] { return std::chrono::steady_clock::now() >= later; }));
  EXPECT_EQ(Job(second).state, JobState::kRunning);
  ASSERT_TRUE(Signal(holder, SIGCONT));
  EXPECT_EQ(WaitForEnd(second).state, JobState::kSucceeded);
}

TEST_F(MemoryTest, AWaitingJobCanBeCancelled) {
  const v1::JobSpec spec = Spec(SlowModel(), "mse");
  const std::string first = Enqueue(spec);
  StartPool([&](WorkerOptions& options) {
    options.slots = 2;
    options.memory_limit_bytes = BoundOf(spec) * 3 / 2;
  });
  WaitForHalf(first);
  const std::string second = Enqueue(spec);
  WaitFor(second, [](const JobRecord& job) {
    v1::Progress progress;
    return progress.ParseFromString(job.progress) &&
           progress.stage() == "WAITING_FOR_MEMORY";
  });
  Cancel(second);
  EXPECT_EQ(WaitForEnd(second).state, JobState::kCancelled);
  EXPECT_EQ(WaitForEnd(first).state, JobState::kSucceeded);
}

TEST_F(MemoryTest, AJobThatNeverFitsFailsOnce) {
  const v1::JobSpec spec = Spec(SmallModel());
  const std::string id = Enqueue(spec);
  StartPool([](WorkerOptions& options) { options.memory_limit_bytes = 1000; });
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.attempt, 1);
  EXPECT_EQ(ErrorOf(job), Reason::kPlanRefused);
}

}  // namespace
}  // namespace quant

#include "server/planner/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "core/base/error.h"

namespace quant {
namespace {

TEST(ExecutorTest, RunsEverythingThatWasAdmitted) {
  std::atomic<int> done = 0;
  Executor executor("io", 3, 10'000);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(executor.Submit([&done] { ++done; }).ok());
  }
  executor.Stop();
  EXPECT_EQ(done, 1000);
}

TEST(ExecutorTest, RefusesBeyondItsBoundAndRecovers) {
  std::promise<void> started, release;
  std::shared_future<void> gate = release.get_future().share();
  Executor executor("io", 1, 2);
  ASSERT_TRUE(executor
                  .Submit([&] {
                    started.set_value();
                    gate.wait();
                  })
                  .ok());
  started.get_future().wait();
  std::atomic<int> done = 0;
  ASSERT_TRUE(executor.Submit([&done] { ++done; }).ok());
  ASSERT_TRUE(executor.Submit([&done] { ++done; }).ok());
  absl::Status full = executor.Submit([&done] { ++done; });
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetReason(full), Reason::kQueueFull);
  // The next step of something admitted is not new work.
  executor.Continue([&done] { ++done; });
  release.set_value();
  executor.Stop();
  EXPECT_EQ(done, 3);
}

TEST(ExecutorTest, AfterStopNewWorkIsRefusedAndStepsRunOnTheCaller) {
  Executor executor("io", 2, 10);
  executor.Stop();
  absl::Status stopped = executor.Submit([] {});
  EXPECT_EQ(stopped.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetReason(stopped), Reason::kServerDraining);
  bool ran = false;
  executor.Continue([&ran] { ran = true; });
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace quant

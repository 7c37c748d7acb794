// Children that are not what they should be.
#include <filesystem>
#include <fstream>

#include "tests/server/worker/worker_test_base.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

using OutsideTest = WorkerTest;

// One that sends no messages and never ends must not hold the slot.
TEST_F(OutsideTest, AChildThatSendsNonsenseIsKilled) {
  const std::string script = root_ + "/nonsense";
  std::ofstream(script) << "#!/bin/sh\n"
                           "printf 'no message at all, but long' >&3\n"
                           "exec sleep 1000\n";
  fs::permissions(script, fs::perms::owner_all);
  const std::string id = Enqueue(Spec(SmallModel()));
  StartPool([&](WorkerOptions& options) { options.executable = script; });
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "POISON");
  EXPECT_EQ(ErrorOf(job), Reason::kWorkerCrashed);
}

}  // namespace
}  // namespace quant

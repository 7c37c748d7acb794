// How jobs end when nobody interferes.
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/recipe/recipe.h"
#include "core/recipe/rpc_status.h"
#include "server/worker/attempt_metrics.h"
#include "tests/server/worker/worker_test_base.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

using EndsTest = WorkerTest;

TEST_F(EndsTest, SuccessPublishesTheBytesOfADirectRun) {
  v1::JobSpec spec = Spec(SmallModel());
  spec.mutable_outputs(0)->set_name("four");
  *spec.add_outputs() = spec.outputs(0);
  spec.mutable_outputs(1)->set_name("eight");
  spec.mutable_outputs(1)->mutable_recipe()->set_scheme("W8A16");
  *spec.add_gates() = *ParseGate("min_sqnr_db >= 1");
  const std::string id = Enqueue(spec);
  StartPool();
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kSucceeded);
  EXPECT_EQ(job.attempt, 1);
  EXPECT_TRUE(job.error.empty());
  ASSERT_EQ(job.artifacts.size(), 2u);
  EXPECT_EQ(artifacts_->Get(job.artifacts[0])->output, "four");
  EXPECT_EQ(artifacts_->Get(job.artifacts[1])->output, "eight");
  EXPECT_FALSE(artifacts_->Get(job.artifacts[0])->gate_failed);
  EXPECT_EQ(Published(id), Direct(spec));
  EXPECT_TRUE(Eventually([&] { return !HasWork(id); }));
  const worker::v1::AttemptResult result = ResultOf(job);
  EXPECT_EQ(result.metrics().at("tensors_total"), 4);
  EXPECT_EQ(result.metrics().at("tensors_redone"), 0);
  EXPECT_GT(result.metrics().at("four/min_sqnr_db"), 1);
  EXPECT_EQ(result.gates_size(), 2);
}

TEST_F(EndsTest, DurationsAreCountedByMethod) {
  v1::JobSpec spec = Spec(SmallModel());
  StartPool();
  WaitForEnd(Enqueue(spec));
  *spec.add_outputs() = spec.outputs(0);
  spec.mutable_outputs(1)->set_name("other");
  spec.mutable_outputs(1)->mutable_recipe()->set_method("hqq");
  WaitForEnd(Enqueue(spec));
  const auto counted = [&](const char* method) {
    return absl::StrContains(
        metrics_.Render(),
        absl::StrCat("quant_job_duration_seconds_count{method=\"", method,
                     "\",outcome=\"SUCCEEDED\"} 1"));
  };
  EXPECT_TRUE(Eventually([&] { return counted("rtn"); }));
  EXPECT_TRUE(Eventually([&] { return counted("several"); }));
}

TEST_F(EndsTest, ManyJobsInSeveralSlots) {
  std::vector<std::string> ids;
  const v1::JobSpec spec = Spec(SmallModel());
  for (int i = 0; i < 12; ++i) ids.push_back(Enqueue(spec));
  StartPool([](WorkerOptions& options) { options.slots = 4; });
  for (int i = 0; i < 12; ++i) ids.push_back(Enqueue(spec));
  const auto expected = Direct(spec);
  for (const std::string& id : ids) {
    EXPECT_EQ(WaitForEnd(id).state, JobState::kSucceeded);
    EXPECT_EQ(Published(id), expected);
  }
}

TEST_F(EndsTest, AFailedGateKeepsTheArtifactAndMarksIt) {
  v1::JobSpec spec = Spec(SmallModel());
  *spec.add_gates() = *ParseGate("min_sqnr_db >= 200");
  *spec.add_gates() = *ParseGate("size_bytes >= 1");
  const std::string id = Enqueue(spec);
  StartPool();
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "GATE_FAILED");
  EXPECT_EQ(job.attempt, 1);
  EXPECT_EQ(ErrorOf(job), Reason::kGateFailed);
  google::rpc::Status error;
  ASSERT_TRUE(error.ParseFromString(job.error));
  EXPECT_THAT(error.message(), ::testing::HasSubstr("min_sqnr_db"));
  EXPECT_THAT(error.message(),
              ::testing::Not(::testing::HasSubstr("size_bytes")));
  ASSERT_EQ(job.artifacts.size(), 1u);
  EXPECT_TRUE(artifacts_->Get(job.artifacts[0])->gate_failed);
  EXPECT_EQ(Published(id), Direct(spec));
}

TEST_F(EndsTest, ABrokenModelFailsOnce) {
  const std::string id = Enqueue(Spec(SmallModel()));
  fs::resize_file(SmallModel() + "/model.safetensors", 1000);
  StartPool();
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "MODEL_MALFORMED");
  EXPECT_EQ(ErrorOf(job), Reason::kModelMalformed);
  EXPECT_EQ(job.attempt, 1) << "the model will not get better";
  EXPECT_TRUE(Published(id).empty());
  EXPECT_TRUE(Eventually([&] { return !HasWork(id); }));
}

TEST_F(EndsTest, NonfiniteWeightsFailOnceWithTheirPlace) {
  const std::string id = Enqueue(Spec(SmallModel()));
  {
    std::fstream file(SmallModel() + "/model.safetensors",
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(-2, std::ios::end);
    file.write("\xC0\x7F", 2);
  }
  StartPool();
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state_reason, "NONFINITE_WEIGHTS");
  EXPECT_EQ(job.attempt, 1);
  google::rpc::Status error;
  ASSERT_TRUE(error.ParseFromString(job.error));
  EXPECT_THAT(error.message(),
              ::testing::HasSubstr("model.layers.3.mlp.up_proj.weight"));
}

TEST_F(EndsTest, ASourceThatIsGoneFailsOnce) {
  const std::string id = Enqueue(Spec(root_ + "/nothing"));
  StartPool();
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "SOURCE_MISSING");
  EXPECT_EQ(job.attempt, 1);
}

TEST_F(EndsTest, ASpecThatIsNoneFails) {
  const std::string id = EnqueueBytes("\xFF\xFF");
  StartPool();
  EXPECT_EQ(WaitForEnd(id).state, JobState::kFailed);
}

TEST_F(EndsTest, FinishedWorkIsPublishedWithoutAChild) {
  const v1::JobSpec spec = Spec(SmallModel());
  const std::string id = Enqueue(spec);
  const std::string work = *artifacts_->WorkDirectory(id);
  const ExecuteResult result = ExecuteIn(spec, work);
  std::ofstream(work + "/result", std::ios::binary)
      << ToAttemptResult(spec, result, 1.5).SerializeAsString();
  const auto expected = Direct(spec);
  // Neither the source nor a child is needed any more.
  fs::remove_all(SmallModel());
  StartPool([](WorkerOptions& options) { options.executable = "/bin/false"; });
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.state_reason;
  EXPECT_EQ(job.attempt, 1);
  EXPECT_EQ(Published(id), expected);
  EXPECT_EQ(ResultOf(job).metrics().at("seconds"), 1.5);
}

TEST_F(EndsTest, ADamagedResultIsWorkToBeDone) {
  const v1::JobSpec spec = Spec(SmallModel());
  const auto expected = Direct(spec);
  for (const std::string bytes : {"", "\xFF\xFF"}) {
    const std::string id = Enqueue(spec);
    std::ofstream(*artifacts_->WorkDirectory(id) + "/result") << bytes;
    StartPool();
    EXPECT_EQ(WaitForEnd(id).state, JobState::kSucceeded);
    EXPECT_EQ(Published(id), expected);
    StopPool();
  }
}

TEST_F(EndsTest, AProgramThatIsNoWorkerIsACrash) {
  const std::string id = Enqueue(Spec(SmallModel()));
  StartPool([](WorkerOptions& options) { options.executable = "/bin/false"; });
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "POISON");
  EXPECT_EQ(ErrorOf(job), Reason::kWorkerCrashed);
  EXPECT_EQ(job.attempt, 3);
}

TEST_F(EndsTest, AProgramThatIsNotThereIsRetried) {
  const std::string id = Enqueue(Spec(SmallModel()));
  StartPool([](WorkerOptions& options) { options.executable = "/nowhere"; });
  const JobRecord job = WaitForEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.state_reason, "ATTEMPTS_EXHAUSTED");
  EXPECT_EQ(job.attempt, job.max_attempts);
}

TEST_F(EndsTest, WithoutSlotsNothingIsClaimed) {
  OpenJobs({}, &clock_);
  const std::string id = Enqueue(Spec(SmallModel()));
  const std::string held = Enqueue(Spec(SmallModel()));
  jobs_->Claim("somebody", [](absl::StatusOr<JobRecord>) {});
  WaitForState(id, JobState::kRunning);
  StartPool([](WorkerOptions& options) { options.slots = 0; });
  clock_.Advance(61'000'000);
  // Maintenance goes on: the lease that ran out is seen.
  WaitForState(id, JobState::kQueued);
  EXPECT_EQ(Job(held).state, JobState::kQueued);
  EXPECT_EQ(Job(held).attempt, 0);
}

}  // namespace
}  // namespace quant

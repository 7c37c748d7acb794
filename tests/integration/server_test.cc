// A real quantd, started, stopped and killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "google/bytestream/bytestream.grpc.pb.h"
#include "google/protobuf/util/message_differencer.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "quant/v1/artifact.grpc.pb.h"
#include "quant/v1/job_service.grpc.pb.h"
#include "tests/integration/quantd_process.h"

namespace quant {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo info;
  for (const auto& any : details.details()) any.UnpackTo(&info);
  return info.reason();
}

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    temp_ = fs::path(testing::TempDir()) /
            ("quantd_" + std::to_string(getpid()) + "_" +
             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(temp_);
    fs::create_directories(temp_ / "models");
    fs::create_directory_symlink(
        fs::path(QUANT_SOURCE_DIR) / "examples/tiny-own-pad768-bf16",
        temp_ / "tiny");
  }
  void TearDown() override {
    if (HasFailure() && quantd_) std::cerr << quantd_->Log();
    quantd_.reset();
    // A worker process that was killed with its server may end a moment later.
    EXPECT_TRUE(Eventually(seconds(10), [this] {
      std::error_code error;
      fs::remove_all(temp_, error);
      return !error;
    }));
  }

  void StartServer(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {
        "--model-root", std::string(QUANT_SOURCE_DIR) + "/examples",
        "--model-root", (temp_ / "models").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    quantd_ = std::make_unique<QuantdProcess>(temp_ / "data", arguments);
    ASSERT_TRUE(quantd_->WaitReady()) << quantd_->Log();
    channel_ = quantd_->channel();
    jobs_ = v1::JobService::NewStub(channel_);
  }

  // Random weights, big enough that a job takes a while.
  void MakeLargeModel(const std::string& name, const std::string& bytes) {
    const std::string command = std::string(QUANT_GEN_MODEL) + " --output " +
                                (temp_ / "models" / name).string() +
                                " --bytes " + bytes;
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  static v1::CreateJobRequest Request(const std::string& model) {
    v1::CreateJobRequest request;
    request.mutable_spec()->mutable_source()->set_server_path(model);
    request.mutable_spec()->add_outputs()->mutable_recipe()->set_scheme(
        "W4A16");
    return request;
  }

  v1::Job Create(const v1::CreateJobRequest& request) {
    grpc::ClientContext context;
    v1::Job job;
    grpc::Status status = jobs_->CreateJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  v1::Job Get(const std::string& name) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    grpc::Status status = jobs_->GetJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  v1::Job WaitFor(const std::string& name, v1::Job::State state) {
    v1::Job job;
    EXPECT_TRUE(Eventually(seconds(120), [&] {
      job = Get(name);
      return job.state() == state;
    })) << job.DebugString();
    return job;
  }

  fs::path temp_;
  std::unique_ptr<QuantdProcess> quantd_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
};

TEST_F(ServerTest, JobsAndArtifactsSurviveARestart) {
  StartServer();
  const v1::Job created = Create(Request("tiny-own-pad768-bf16"));
  const v1::Job done = WaitFor(created.name(), v1::Job::SUCCEEDED);
  ASSERT_EQ(done.artifacts_size(), 1);
  EXPECT_GT(done.metrics().at("size_bytes"), 0);
  quantd_->Signal(SIGTERM);
  EXPECT_EQ(quantd_->WaitExit(seconds(30)), 0);
  EXPECT_FALSE(fs::exists(temp_ / "data/endpoint"));

  StartServer();
  const v1::Job again = Get(created.name());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(again, done))
      << again.DebugString() << done.DebugString();
  auto artifacts = v1::ArtifactService::NewStub(channel_);
  grpc::ClientContext context;
  v1::GetArtifactRequest request;
  request.set_name(done.artifacts(0));
  v1::Artifact artifact;
  EXPECT_TRUE(artifacts->GetArtifact(&context, request, &artifact).ok());
  EXPECT_GT(artifact.files_size(), 2);
}

TEST_F(ServerTest, AcknowledgedJobsSurviveKillNine) {
  StartServer();
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) {
    names.push_back(Create(Request("tiny-own-pad768-bf16")).name());
  }
  quantd_->Signal(SIGKILL);
  quantd_->WaitExit(seconds(30));
  StartServer();
  for (const std::string& name : names) WaitFor(name, v1::Job::SUCCEEDED);
}

TEST_F(ServerTest, SecondServerOnTheSameDataIsRefused) {
  StartServer();
  QuantdProcess second(temp_ / "data", {});
  EXPECT_EQ(second.WaitExit(seconds(30)), 1);
  EXPECT_THAT(second.Log(), testing::HasSubstr("another quantd"));
  EXPECT_THAT(second.Log(), testing::HasSubstr((temp_ / "data").string()));
  const v1::Job job = Create(Request("tiny-own-pad768-bf16"));
  WaitFor(job.name(), v1::Job::SUCCEEDED);
}

TEST_F(ServerTest, SigtermDrainsAndTheJobGoesOnAfterwards) {
  MakeLargeModel("large", "150MB");
  StartServer({"--threads", "1"});
  v1::CreateJobRequest request = Request("large");
  request.mutable_spec()->mutable_outputs(0)->mutable_recipe()->set_scale(
      "mse");
  const v1::Job job = Create(request);
  ASSERT_TRUE(Eventually(seconds(60), [&] {
    return Get(job.name()).progress().tensors_done() >= 2;
  }));
  v1::WatchJobRequest watch;
  watch.set_name(job.name());
  grpc::ClientContext context;
  auto reader = jobs_->WatchJob(&context, watch);
  v1::WatchJobResponse seen;
  ASSERT_TRUE(reader->Read(&seen));
  int64_t last = seen.sequence();
  quantd_->Signal(SIGTERM);
  while (reader->Read(&seen)) last = seen.sequence();
  const grpc::Status end = reader->Finish();
  EXPECT_EQ(end.error_code(), grpc::UNAVAILABLE) << end.error_message();
  EXPECT_EQ(quantd_->WaitExit(seconds(40)), 0) << quantd_->Log();

  StartServer();
  // Reattached by the last sequence seen, to the end.
  grpc::ClientContext resumed;
  watch.set_after_sequence(last);
  reader = jobs_->WatchJob(&resumed, watch);
  while (reader->Read(&seen)) {
    if (seen.kind() != v1::WatchJobResponse::PROGRESS) {
      EXPECT_GE(seen.sequence(), last);
      last = seen.sequence();
    }
  }
  const grpc::Status finished = reader->Finish();
  EXPECT_TRUE(finished.ok()) << finished.error_message();
  ASSERT_EQ(seen.kind(), v1::WatchJobResponse::FINAL);
  EXPECT_EQ(seen.job().state(), v1::Job::SUCCEEDED);
  // A drained attempt does not count, and its work is taken over.
  EXPECT_EQ(seen.job().attempt(), 1);
  EXPECT_LE(seen.job().metrics().at("tensors_redone"), 1);
}

TEST_F(ServerTest, SourcesOutsideTheRootsAreRefused) {
  StartServer();
  fs::create_directory_symlink("/etc", temp_ / "models/escape");
  for (const std::string& path :
       {(temp_ / "tiny").string(), std::string("/etc"), std::string("escape"),
        std::string("../../etc")}) {
    grpc::ClientContext context;
    v1::Job job;
    grpc::Status status = jobs_->CreateJob(&context, Request(path), &job);
    // The link to the bundled model leads into a root.
    if (path == (temp_ / "tiny").string()) {
      EXPECT_TRUE(status.ok()) << status.error_message();
      continue;
    }
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << path;
    EXPECT_EQ(ReasonOf(status), "SOURCE_NOT_ALLOWED") << path;
  }
}

TEST_F(ServerTest, UnusableSettingsEndTheServerWithAMessage) {
  QuantdProcess taken(temp_ / "data", {"--model-root", "/no/such/dir"});
  const auto code = taken.WaitExit(seconds(30));
  ASSERT_TRUE(code.has_value());
  EXPECT_NE(*code, 0);
  EXPECT_THAT(taken.Log(), testing::HasSubstr("/no/such/dir"));
}

}  // namespace
}  // namespace quant

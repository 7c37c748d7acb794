#include "tests/server/api/api_test_base.h"

#include <unistd.h>

#include <fstream>

#include "core/base/digest.h"
#include "server/queue/memory_job_store.h"
#include "server/store/local_artifact_store.h"
#include "server/store/local_upload_store.h"

namespace quant {

namespace fs = std::filesystem;

ErrorDetails DetailsOf(const grpc::Status& status) {
  ErrorDetails out;
  google::rpc::Status rpc;
  EXPECT_TRUE(rpc.ParseFromString(status.error_details()));
  EXPECT_EQ(rpc.code(), status.error_code());
  EXPECT_EQ(rpc.message(), status.error_message());
  for (const auto& any : rpc.details()) {
    google::rpc::BadRequest bad;
    google::rpc::RetryInfo retry;
    if (any.Is<google::rpc::ErrorInfo>()) {
      ++out.error_infos;
      any.UnpackTo(&out.info);
    } else if (any.UnpackTo(&bad)) {
      out.field = bad.field_violations(0).field();
    } else if (any.UnpackTo(&retry)) {
      out.has_retry_info = true;
    }
  }
  return out;
}

void ExpectError(const grpc::Status& status, grpc::StatusCode code,
                 const std::string& reason) {
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  EXPECT_FALSE(status.error_message().empty());
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.error_infos, 1);
  EXPECT_EQ(details.info.domain(), "quant.v1");
  EXPECT_EQ(details.info.reason(), reason) << status.error_message();
  if (code == grpc::INVALID_ARGUMENT) {
    EXPECT_NE(details.field, "") << status.error_message();
  }
  if (code == grpc::UNAVAILABLE) {
    EXPECT_TRUE(details.has_retry_info);
  }
}

void ApiTest::SetUp() {
  temp_ = fs::path(testing::TempDir()) /
          ("api_" + std::to_string(getpid()) + "_" +
           testing::UnitTest::GetInstance()->current_test_info()->name());
  fs::remove_all(temp_);
  fs::create_directories(temp_ / "models");
  options_.page_token_key = "a key for tests";
}

void ApiTest::Start() {
  const Clock& clock = Clock::System();
  QueueOptions queue;
  queue.max_events_per_job = 200;
  jobs_ = MakeMemoryJobStore(queue, clock);
  artifacts_ = *OpenLocalArtifactStore((temp_ / "artifacts").string());
  uploads_ = *OpenLocalUploadStore((temp_ / "uploads").string());
  logs_ = *JobLogs::Open(temp_.string());
  PlannerOptions planner;
  planner.model_roots = {std::string(QUANT_SOURCE_DIR) + "/examples",
                         (temp_ / "models").string()};
  planner.upload_directory = [this](const std::string& id) {
    return uploads_->Directory(id);
  };
  planner_ = *Planner::Create(planner);
  io_ = std::make_unique<Executor>("io", 4, 1000);
  compute_ = std::make_unique<Executor>("compute", 2, 100);
  streams_ = std::make_unique<Streams>(clock, max_streams_, 10'000);
  limiter_ = std::make_unique<Limiter>(limits_, clock);
  Listen();
}

void ApiTest::Listen() {
  const Clock& clock = Clock::System();
  env_.reset(new ApiEnv{*jobs_, *artifacts_, *uploads_, *logs_, *planner_,
                        *io_, *compute_, *streams_, metrics_, clock, options_,
                        authenticator_.get(), limiter_.get()});
  server_ = *ApiServer::Start({.listen = "127.0.0.1:0", .tls = {}}, *env_);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ =
      grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                grpc::InsecureChannelCredentials(), arguments);
  jobs_stub_ = v1::JobService::NewStub(channel_);
  artifacts_stub_ = v1::ArtifactService::NewStub(channel_);
  models_stub_ = v1::ModelService::NewStub(channel_);
  tensors_stub_ = v1::TensorService::NewStub(channel_);
  catalog_stub_ = v1::CatalogService::NewStub(channel_);
  bytes_stub_ = google::bytestream::ByteStream::NewStub(channel_);
  health_stub_ = grpc::health::v1::Health::NewStub(channel_);
}

void ApiTest::TearDown() {
  if (server_) server_->Shutdown(1'000'000);
  // In the order of main: what calls goes before what is called.
  if (io_) io_->Stop();
  if (compute_) compute_->Stop();
  if (jobs_) jobs_->Stop();
  server_.reset();
  streams_.reset();
  fs::remove_all(temp_);
}

v1::CreateJobRequest ApiTest::GoodRequest() {
  v1::CreateJobRequest request;
  request.mutable_spec()->mutable_source()->set_server_path(
      "tiny-own-pad768-bf16");
  request.mutable_spec()->add_outputs()->mutable_recipe()->set_scheme("W4A16");
  return request;
}

v1::Job ApiTest::CreateJob(const v1::CreateJobRequest& request) {
  v1::Job job;
  grpc::Status status = jobs_stub_->CreateJob(Context().get(), request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job;
}

JobRecord ApiTest::Claim() {
  Answered<JobRecord> answer;
  jobs_->Claim("test", answer.callback());
  auto record = answer.Get();
  EXPECT_TRUE(record.ok()) << record.status();
  return record.ok() ? *record : JobRecord();
}

void ApiTest::Finish(const JobRecord& claimed, Outcome outcome,
                     std::vector<std::string> artifacts) {
  FinishRequest request;
  request.id = claimed.id;
  request.lease_token = claimed.lease_token;
  request.outcome = outcome;
  request.artifacts = std::move(artifacts);
  Answered<JobRecord> answer;
  jobs_->Finish(request, answer.callback());
  auto record = answer.Get();
  EXPECT_TRUE(record.ok()) << record.status();
}

std::string ApiTest::Publish(
    const std::string& job_id,
    const std::vector<std::pair<std::string, std::string>>& path_and_bytes) {
  PublishRequest request;
  request.job_id = job_id;
  request.output = "out";
  request.directory = *artifacts_->WorkDirectory(job_id) + "/out";
  for (const auto& [path, bytes] : path_and_bytes) {
    const fs::path file = fs::path(request.directory) / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    request.files.push_back({.path = path,
                             .size_bytes = static_cast<int64_t>(bytes.size()),
                             .sha256 = Sha256Hex(bytes)});
  }
  auto record = artifacts_->Publish(request);
  EXPECT_TRUE(record.ok()) << record.status();
  return record.ok() ? record->id : "";
}

std::unique_ptr<grpc::ClientContext> ApiTest::Context(int seconds) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::seconds(seconds));
  return context;
}

}  // namespace quant

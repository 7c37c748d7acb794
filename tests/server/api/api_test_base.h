// A whole server in this process: real planner, stores and gRPC on a free port,
// over an in-memory queue and a temporary directory. Jobs are worked on by the
// test itself.
#ifndef QUANT_TESTS_SERVER_API_API_TEST_BASE_H_
#define QUANT_TESTS_SERVER_API_API_TEST_BASE_H_

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "google/bytestream/bytestream.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "quant/v1/artifact.grpc.pb.h"
#include "quant/v1/catalog.grpc.pb.h"
#include "quant/v1/job_service.grpc.pb.h"
#include "quant/v1/model.grpc.pb.h"
#include "quant/v1/tensor.grpc.pb.h"
#include "server/api/api_server.h"
#include "server/api/env.h"

namespace quant {

// What the trailing google.rpc.Status of an error says.
struct ErrorDetails {
  int error_infos = 0;
  google::rpc::ErrorInfo info;
  std::string field;  // of BadRequest's first violation
  bool has_retry_info = false;
};
ErrorDetails DetailsOf(const grpc::Status& status);

// The code and the reason, and everything that holds for all errors.
void ExpectError(const grpc::Status& status, grpc::StatusCode code,
                 const std::string& reason);

// Reads a callback's answer.
template <typename Value>
struct Answered {
  std::promise<absl::StatusOr<Value>> promise;
  auto callback() {
    return [this](absl::StatusOr<Value> value) {
      promise.set_value(std::move(value));
    };
  }
  absl::StatusOr<Value> Get() { return promise.get_future().get(); }
};

class ApiTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  // Options may be changed before Start.
  void Start();
  // A server with the options of now, over what Start made; the stubs are its.
  // Again after Shutdown of the one before.
  void Listen();

  // A good request for the bundled model.
  static v1::CreateJobRequest GoodRequest();
  v1::Job CreateJob(const v1::CreateJobRequest& request);
  v1::Job CreateJob() { return CreateJob(GoodRequest()); }

  // The worker's side.
  JobRecord Claim();
  void Finish(const JobRecord& claimed, Outcome outcome,
              std::vector<std::string> artifacts = {});
  // Publishes files for a job; answers the artifact's id.
  std::string Publish(
      const std::string& job_id,
      const std::vector<std::pair<std::string, std::string>>& path_and_bytes);

  std::unique_ptr<grpc::ClientContext> Context(int seconds = 60);

  std::filesystem::path temp_;
  ApiOptions options_;
  int max_streams_ = 1000;
  Metrics metrics_;
  std::unique_ptr<JobStore> jobs_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<UploadStore> uploads_;
  std::unique_ptr<JobLogs> logs_;
  std::unique_ptr<Planner> planner_;
  std::unique_ptr<Executor> io_;
  std::unique_ptr<Executor> compute_;
  std::unique_ptr<Streams> streams_;
  std::unique_ptr<ApiEnv> env_;
  std::unique_ptr<Authenticator> authenticator_;  // null: no credentials
  Limits limits_;                                 // may be changed before Start
  std::unique_ptr<Limiter> limiter_;
  std::unique_ptr<ApiServer> server_;

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_stub_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_stub_;
  std::unique_ptr<v1::ModelService::Stub> models_stub_;
  std::unique_ptr<v1::TensorService::Stub> tensors_stub_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_stub_;
  std::unique_ptr<google::bytestream::ByteStream::Stub> bytes_stub_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_stub_;
};

}  // namespace quant

#endif  // QUANT_TESTS_SERVER_API_API_TEST_BASE_H_

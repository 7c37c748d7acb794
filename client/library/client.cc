#include "client/library/client.h"

#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "client/library/channel.h"
#include "client/library/errors.h"
#include "client/library/retry.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "quant/v1/artifact.grpc.pb.h"
#include "quant/v1/catalog.grpc.pb.h"
#include "quant/v1/job_service.grpc.pb.h"
#include "quant/v1/model.grpc.pb.h"
#include "quant/v1/queue.grpc.pb.h"
#include "quant/v1/tensor.grpc.pb.h"

namespace quant {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

std::string RandomId() {
  std::random_device random;
  return absl::StrFormat("%08x%08x%08x%08x", random(), random(), random(),
                         random());
}

// One unary call: `call` is a method of the generated `stub`.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(
    const std::string& target, milliseconds deadline, Stub& stub,
    grpc::Status (Stub::*call)(grpc::ClientContext*, const Request&, Response*),
    const Request& request, std::stop_token stop = {}) {
  grpc::ClientContext context;
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  context.set_deadline(system_clock::now() + deadline);
  Response response;
  const grpc::Status status = (stub.*call)(&context, request, &response);
  if (!status.ok()) return StatusFromGrpc(status, target);
  return response;
}

template <typename Request>
Request Named(const std::string& name, const std::string& etag) {
  Request request;
  request.set_name(name);
  request.set_etag(etag);
  return request;
}

// With a request id, a call whose answer was lost may be repeated too.
bool MaySubmitAgain(const absl::Status& status) {
  return IsTransient(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

struct Client::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : jobs(channel),
        artifacts(channel),
        models(channel),
        queue(channel),
        tensors(channel),
        catalog(channel),
        health(channel) {}

  v1::JobService::Stub jobs;
  v1::ArtifactService::Stub artifacts;
  v1::ModelService::Stub models;
  v1::QueueService::Stub queue;
  v1::TensorService::Stub tensors;
  v1::CatalogService::Stub catalog;
  grpc::health::v1::Health::Stub health;
};

Client::Client(std::string target, ClientOptions options,
               std::shared_ptr<grpc::Channel> channel)
    : target_(std::move(target)),
      options_(std::move(options)),
      channel_(std::move(channel)),
      stubs_(std::make_unique<Stubs>(channel_)) {}

Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(
    const std::string& target, ClientOptions options) {
  QUANT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                         OpenChannel(target, options));
  return std::unique_ptr<Client>(
      new Client(target, std::move(options), std::move(channel)));
}

absl::StatusOr<v1::Job> Client::Submit(v1::CreateJobRequest request,
                                       std::stop_token stop) {
  if (request.request_id().empty()) request.set_request_id(RandomId());
  RetryBudget budget(options_.retry_for);
  while (true) {
    absl::StatusOr<v1::Job> job =
        Call(target_, options_.long_deadline, stubs_->jobs,
             &v1::JobService::Stub::CreateJob, request, stop);
    if (job.ok() || !MaySubmitAgain(job.status())) return job;
    QUANT_RETURN_IF_ERROR(budget.Wait(job.status(), stop));
  }
}

absl::StatusOr<v1::Job> Client::Get(const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  return Call(target_, options_.deadline, stubs_->jobs,
              &v1::JobService::Stub::GetJob, request);
}

absl::StatusOr<v1::ListJobsResponse> Client::List(
    const v1::ListJobsRequest& request) {
  return Call(target_, options_.deadline, stubs_->jobs,
              &v1::JobService::Stub::ListJobs, request);
}

absl::StatusOr<v1::Job> Client::Cancel(const std::string& name,
                                       const std::string& etag) {
  return Call(target_, options_.deadline, stubs_->jobs,
              &v1::JobService::Stub::CancelJob,
              Named<v1::CancelJobRequest>(name, etag));
}

absl::StatusOr<v1::Job> Client::Retry(const std::string& name,
                                      const std::string& etag) {
  return Call(target_, options_.deadline, stubs_->jobs,
              &v1::JobService::Stub::RetryJob,
              Named<v1::RetryJobRequest>(name, etag));
}

absl::Status Client::Delete(const std::string& name, const std::string& etag) {
  return Call(target_, options_.deadline, stubs_->jobs,
              &v1::JobService::Stub::DeleteJob,
              Named<v1::DeleteJobRequest>(name, etag))
      .status();
}

absl::StatusOr<v1::Artifact> Client::GetArtifact(const std::string& name) {
  v1::GetArtifactRequest request;
  request.set_name(name);
  return Call(target_, options_.deadline, stubs_->artifacts,
              &v1::ArtifactService::Stub::GetArtifact, request);
}

absl::StatusOr<v1::ListArtifactsResponse> Client::ListArtifacts(
    const v1::ListArtifactsRequest& request) {
  return Call(target_, options_.deadline, stubs_->artifacts,
              &v1::ArtifactService::Stub::ListArtifacts, request);
}

absl::Status Client::DeleteArtifact(const std::string& name) {
  v1::DeleteArtifactRequest request;
  request.set_name(name);
  return Call(target_, options_.deadline, stubs_->artifacts,
              &v1::ArtifactService::Stub::DeleteArtifact, request)
      .status();
}

absl::StatusOr<v1::JobPlan> Client::Plan(const v1::JobSpec& spec) {
  v1::PlanJobRequest request;
  *request.mutable_spec() = spec;
  return Call(target_, options_.long_deadline, stubs_->jobs,
              &v1::JobService::Stub::PlanJob, request);
}

absl::StatusOr<v1::ModelInfo> Client::Inspect(
    const v1::InspectModelRequest& request) {
  return Call(target_, options_.long_deadline, stubs_->models,
              &v1::ModelService::Stub::InspectModel, request);
}

absl::StatusOr<v1::QuantizeTensorResponse> Client::Tensor(
    const v1::QuantizeTensorRequest& request) {
  return Call(target_, options_.deadline, stubs_->tensors,
              &v1::TensorService::Stub::QuantizeTensor, request);
}

absl::StatusOr<v1::Capabilities> Client::Capabilities() {
  return Call(target_, options_.deadline, stubs_->catalog,
              &v1::CatalogService::Stub::GetCapabilities,
              v1::GetCapabilitiesRequest());
}

absl::StatusOr<v1::Queue> Client::GetQueue() {
  return Call(target_, options_.deadline, stubs_->queue,
              &v1::QueueService::Stub::GetQueue, v1::GetQueueRequest());
}

absl::StatusOr<v1::Queue> Client::PauseQueue() {
  return Call(target_, options_.deadline, stubs_->queue,
              &v1::QueueService::Stub::PauseQueue, v1::PauseQueueRequest());
}

absl::StatusOr<v1::Queue> Client::DrainQueue() {
  return Call(target_, options_.deadline, stubs_->queue,
              &v1::QueueService::Stub::DrainQueue, v1::DrainQueueRequest());
}

absl::StatusOr<v1::Queue> Client::ResumeQueue() {
  return Call(target_, options_.deadline, stubs_->queue,
              &v1::QueueService::Stub::ResumeQueue, v1::ResumeQueueRequest());
}

absl::StatusOr<bool> Client::Health(const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  QUANT_ASSIGN_OR_RETURN(const grpc::health::v1::HealthCheckResponse response,
                         Call(target_, options_.deadline, stubs_->health,
                              &grpc::health::v1::Health::Stub::Check, request));
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
}

}  // namespace quant

#include "server/api/health_service.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "server/api/write_stream.h"

namespace quant {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr CallInfo kCheck = {"grpc.health.v1.Health/Check", Lane::kInline};
constexpr CallInfo kWatch = {"grpc.health.v1.Health/Watch", Lane::kInline};

constexpr absl::string_view kJobService = "quant.v1.JobService";
constexpr absl::string_view kServices[] = {
    kJobService,
    "quant.v1.ArtifactService",
    "quant.v1.ModelService",
    "quant.v1.QueueService",
    "quant.v1.TensorService",
    "quant.v1.CatalogService",
    "google.bytestream.ByteStream",
    "grpc.health.v1.Health",
};

HealthCheckResponse::ServingStatus StatusOf(const ApiEnv& env,
                                            absl::string_view service) {
  if (service == kJobService && env.streams.draining()) {
    return HealthCheckResponse::NOT_SERVING;
  }
  const bool known =
      service.empty() || std::find(std::begin(kServices), std::end(kServices),
                                   service) != std::end(kServices);
  return known ? HealthCheckResponse::SERVING
               : HealthCheckResponse::SERVICE_UNKNOWN;
}

// Sends the status at once, and again whenever a tick finds it changed.
class HealthStream final : public WriteStream<HealthCheckResponse> {
 public:
  HealthStream(const ApiEnv& env, grpc::CallbackServerContext* context,
               const HealthCheckRequest& request)
      : WriteStream(env, kWatch, context), service_(request.service()) {}

 private:
  void Begin() override {
    std::lock_guard lock(mutex_);
    PumpLocked();
  }

  void TickLocked(int64_t now) override { PumpLocked(); }

  void PumpLocked() override {
    if (ended_ || writing_) return;
    const auto status = StatusOf(env_, service_);
    if (status == current_.status()) return;  // UNKNOWN before the first write
    current_.set_status(status);
    StartWriteLocked();
  }

  const std::string service_;
};

}  // namespace

absl::Span<const absl::string_view> ServiceNames() { return kServices; }

grpc::ServerUnaryReactor* HealthService::Check(
    grpc::CallbackServerContext* context, const HealthCheckRequest* request,
    HealthCheckResponse* response) {
  return HandleNow(env_, kCheck, context, [=, this](Caller caller) {
    const auto status = StatusOf(env_, request->service());
    if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
      return MakeError(absl::StatusCode::kNotFound, Reason::kUnknownName,
                       absl::StrCat("there is no service \"",
                                    request->service().substr(0, 200), "\""));
    }
    response->set_status(status);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext* context, const HealthCheckRequest* request) {
  return HealthStream::Launch(
      std::make_shared<HealthStream>(env_, context, *request));
}

}  // namespace quant

// grpc.health.v1.Health. Known services: "" (the server accepts calls) and each
// service by its full name; quant.v1.JobService is NOT_SERVING while the server
// drains.
#ifndef QUANT_SERVER_API_HEALTH_SERVICE_H_
#define QUANT_SERVER_API_HEALTH_SERVICE_H_

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  explicit HealthService(const ApiEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* Check(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request,
      grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  const ApiEnv& env_;
};

// Full names of the services that this server has, reflection aside.
absl::Span<const absl::string_view> ServiceNames();

}  // namespace quant

#endif  // QUANT_SERVER_API_HEALTH_SERVICE_H_

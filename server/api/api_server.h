// The gRPC server: all services on one port, with the limits that keep one
// client from hurting the others.
#ifndef QUANT_SERVER_API_API_SERVER_H_
#define QUANT_SERVER_API_API_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/api/credentials.h"
#include "server/api/env.h"

namespace quant {

struct ApiServerOptions {
  std::string listen;  // "host:port"; port 0 takes a free one
  TlsFiles tls;
};

class ApiServer {
 public:
  // `env` must outlive it. UNAVAILABLE when the address is taken.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(
      const ApiServerOptions& options, const ApiEnv& env);
  // As Shutdown(0).
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  int port() const { return port_; }
  // In this process, without a socket; for tests and embedding.
  std::shared_ptr<grpc::Channel> InProcessChannel() {
    return server_->InProcessChannel(grpc::ChannelArguments());
  }
  // Takes no new calls; open ones may go on for `grace_micros` and are then
  // cancelled. Returns when all have ended. Idempotent.
  void Shutdown(int64_t grace_micros);

 private:
  ApiServer() = default;

  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_API_SERVER_H_

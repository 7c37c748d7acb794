// A small plaintext HTTP server for probes and scrapes. It serves no model
// data and nothing but GET and HEAD of:
//
//   /metrics  Prometheus text format
//   /livez    200 "ok" while the process can answer at all, else 503
//   /readyz   200 "ok" when new work is taken, else 503
//
// Sixteen threads, bounded requests: a slow client costs one of them for at
// most two seconds, never the gRPC side.
#ifndef QUANT_SERVER_TELEMETRY_HTTP_SERVER_H_
#define QUANT_SERVER_TELEMETRY_HTTP_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct mg_connection;
struct mg_context;

namespace quant {

class HttpServer {
 public:
  // Called on the server's threads, several at a time; must not block.
  struct Handlers {
    std::function<std::string()> metrics;
    std::function<bool()> live;
    std::function<bool()> ready;
  };

  // Listens on "host:port"; port 0 takes a free one. INVALID_ARGUMENT for an
  // address that can't be, UNAVAILABLE when it is taken.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      const std::string& address, Handlers handlers);
  // Waits for requests under way.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }

 private:
  explicit HttpServer(Handlers handlers) : handlers_(std::move(handlers)) {}
  static int Handle(mg_connection* connection);

  Handlers handlers_;
  mg_context* context_ = nullptr;
  std::string host_;
  int port_ = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_TELEMETRY_HTTP_SERVER_H_

#include "server/telemetry/http_server.h"

#include <civetweb.h>

#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/error.h"
#include "server/telemetry/log.h"

namespace quant {
namespace {

struct Answer {
  int code = 200;
  const char* type = "text/plain; charset=utf-8";
  std::string body;
};

const char* Phrase(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

Answer Probe(const std::function<bool()>& probe) {
  if (!probe || probe()) return {.body = "ok\n"};
  return {.code = 503, .body = "not ok\n"};
}

Answer Route(absl::string_view uri, const HttpServer::Handlers& handlers) {
  if (uri == "/livez") return Probe(handlers.live);
  if (uri == "/readyz") return Probe(handlers.ready);
  if (uri == "/metrics" && handlers.metrics) {
    return {.type = "text/plain; version=0.0.4; charset=utf-8",
            .body = handlers.metrics()};
  }
  return {.code = 404, .body = "try /metrics, /livez or /readyz\n"};
}

// CivetWeb takes "ip:port" and "[ip6]:port"; localhost is the one name that
// people write.
absl::StatusOr<std::string> ListeningPorts(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return InvalidSpec(absl::StrCat("HTTP address \"", address,
                                    "\": want host:port, port 0..65535"));
  }
  std::string host = address.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  // A comma would start a second address.
  if (host.find(',') != std::string::npos) {
    return InvalidSpec(
        absl::StrCat("HTTP address \"", address, "\": one address only"));
  }
  return absl::StrCat(host, ":", port);
}

int LogMessage(const mg_connection*, const char* message) {
  Log(LogLevel::kDebug, "http", {{"msg", message}});
  return 1;
}

}  // namespace

int HttpServer::Handle(mg_connection* connection) {
  const mg_request_info* request = mg_get_request_info(connection);
  const auto* server = static_cast<const HttpServer*>(request->user_data);
  const absl::string_view method = request->request_method;
  Answer answer;
  if (method != "GET" && method != "HEAD") {
    answer = {.code = 405, .body = "GET or HEAD only\n"};
  } else {
    answer = Route(request->local_uri, server->handlers_);
  }
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            answer.code, Phrase(answer.code), answer.type, answer.body.size());
  if (method != "HEAD") {
    mg_write(connection, answer.body.data(), answer.body.size());
  }
  return answer.code;
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const std::string& address, Handlers handlers) {
  auto ports = ListeningPorts(address);
  if (!ports.ok()) return ports.status();
  static std::once_flag once;
  std::call_once(once, [] { mg_init_library(MG_FEATURES_DEFAULT); });

  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handlers)));
  const char* options[] = {"listening_ports",
                           ports->c_str(),
                           "num_threads",
                           "16",
                           "connection_queue",
                           "64",
                           "request_timeout_ms",
                           "2000",
                           "max_request_size",
                           "8192",
                           "enable_directory_listing",
                           "no",
                           "enable_keep_alive",
                           "no",
                           nullptr};
  mg_callbacks callbacks;
  std::memset(&callbacks, 0, sizeof callbacks);
  // It answers every request, so CivetWeb's own file serving is never reached.
  callbacks.begin_request = &HttpServer::Handle;
  callbacks.log_message = &LogMessage;
  server->context_ = mg_start(&callbacks, server.get(), options);
  if (server->context_ == nullptr) {
    return MakeError(absl::StatusCode::kUnavailable, Reason::kInternal,
                     absl::StrCat("can't listen for HTTP on ", address,
                                  ": address in use or not of this machine"));
  }
  mg_server_port bound[1] = {};
  if (mg_get_server_ports(server->context_, 1, bound) == 1) {
    server->port_ = bound[0].port;
  }
  server->host_ = ports->substr(0, ports->rfind(':'));
  if (server->host_.front() == '[') {
    server->host_ = server->host_.substr(1, server->host_.size() - 2);
  }
  return server;
}

// The accepting thread looks at its stop flag only when a connection comes or
// two seconds have passed; a drain should not wait for that.
HttpServer::~HttpServer() {
  if (context_ == nullptr) return;
  std::jthread knock([this](std::stop_token stopped) {
    char error[64];
    while (!stopped.stop_requested()) {
      mg_connection* connection = mg_connect_client(
          host_.c_str(), port_, /*use_ssl=*/0, error, sizeof error);
      if (connection != nullptr) mg_close_connection(connection);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  mg_stop(context_);
}

}  // namespace quant

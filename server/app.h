// quantd, put together: stores, planner, workers, gRPC and HTTP.
#ifndef QUANT_SERVER_APP_H_
#define QUANT_SERVER_APP_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/config/server_config.h"

namespace quant {

class App {
 public:
  // Serves when it returns. FAILED_PRECONDITION while another server runs on
  // the data directory; UNAVAILABLE when an address is taken.
  static absl::StatusOr<std::unique_ptr<App>> Start(const ServerConfig& config);
  // As Drain.
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Where it listens, with the ports that were taken.
  const std::string& grpc_address() const;
  const std::string& http_address() const;

  // New settings, or why they were refused: what can change while the server
  // runs is taken over, and a bad file changes nothing. Says so in the log. Not
  // beside Drain.
  void Reload(const absl::StatusOr<ServerConfig>& next);

  // The orderly end, within config.drain_timeout: no more claims; JobService is
  // NOT_SERVING and new work refused; watches end with SERVER_DRAINING; running
  // attempts stop and their jobs go back to the queue unharmed; open calls end;
  // everything closes. Idempotent.
  void Drain();

 private:
  struct Parts;
  explicit App(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace quant

#endif  // QUANT_SERVER_APP_H_

// How commands reach the server.
#ifndef QUANT_CLIENT_CLI_SERVER_FLAGS_H_
#define QUANT_CLIENT_CLI_SERVER_FLAGS_H_

#include <memory>
#include <string>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "client/library/client.h"
#include "google/protobuf/duration.pb.h"

namespace quant::cli {

// Every flag has an environment variable: --tls-ca is QUANT_TLS_CA.
class ServerFlags {
 public:
  void Add(CLI::App& app);
  absl::StatusOr<std::unique_ptr<Client>> Connect() const;
  // "--server host:port" as it must be repeated in a command, or empty.
  std::string ForCommandLine() const;

 private:
  std::string server_ = "127.0.0.1:50051";
  std::string retry_for_ = "30s";
  bool tls_ = false;
  TlsOptions files_;
  std::string token_file_;
  bool token_over_plaintext_ = false;
};

// "90s", "5m", "1h30m", or plain seconds. Positive.
absl::StatusOr<std::chrono::milliseconds> ParseDuration(
    const std::string& flag, const std::string& text);

// The same as a message.
absl::StatusOr<google::protobuf::Duration> ParseProtoDuration(
    const std::string& flag, const std::string& text);

// "jobs/x" for "jobs/x" and "x"; likewise for other collections.
std::string FullName(const std::string& collection, const std::string& name);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_SERVER_FLAGS_H_

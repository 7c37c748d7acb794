#include "client/cli/server_flags.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/trace_context.h"
#include "google/protobuf/util/time_util.h"

namespace quant::cli {
namespace {

constexpr char kDefaultServer[] = "127.0.0.1:50051";
constexpr int64_t kMaxTokenFileBytes = 8192;

// Never from a flag: other users of the machine can read command lines.
absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::string token;
  if (!path.empty()) {
    QUANT_ASSIGN_OR_RETURN(token, ReadFile(path, kMaxTokenFileBytes));
  } else if (const char* variable = std::getenv("QUANT_TOKEN")) {
    token = variable;
  }
  absl::StripAsciiWhitespace(&token);
  if (token.empty() && !path.empty()) {
    return InvalidSpec(absl::StrCat("--token-file: ", path, " is empty"));
  }
  return token;
}

// As CI systems set it. What can't be read is not this program's, and no
// reason to fail.
std::string TraceFromEnvironment() {
  const char* variable = std::getenv("TRACEPARENT");
  if (variable == nullptr || !ParseTraceparent(variable).ok()) return "";
  return variable;
}

}  // namespace

void ServerFlags::Add(CLI::App& app) {
  app.add_option("--server", server_, "The server's gRPC address, host:port")
      ->envname("QUANT_SERVER")
      ->capture_default_str();
  app.add_flag("--tls", tls_, "Use TLS with the system's authorities")
      ->envname("QUANT_TLS");
  app.add_option("--tls-ca", files_.ca_file,
                 "Use TLS; PEM file of who signed the server's certificate")
      ->envname("QUANT_TLS_CA");
  app.add_option("--tls-cert", files_.cert_file,
                 "Use mutual TLS; PEM file of this client's certificate")
      ->envname("QUANT_TLS_CERT");
  app.add_option("--tls-key", files_.key_file, "PEM file of its private key")
      ->envname("QUANT_TLS_KEY");
  app.add_option("--token-file", token_file_,
                 "File of the bearer token to show, as quantd token made it "
                 "(or the token itself in QUANT_TOKEN)")
      ->envname("QUANT_TOKEN_FILE");
  app.add_flag("--token-over-plaintext", token_over_plaintext_,
               "Send the token without TLS to another machine: everyone on "
               "the way can read it")
      ->envname("QUANT_TOKEN_OVER_PLAINTEXT");
  app.add_option("--retry-for", retry_for_,
                 "How long to keep trying while the server is away")
      ->envname("QUANT_RETRY_FOR")
      ->capture_default_str();
}

absl::StatusOr<std::unique_ptr<Client>> ServerFlags::Connect() const {
  ClientOptions options;
  QUANT_ASSIGN_OR_RETURN(options.retry_for,
                         ParseDuration("--retry-for", retry_for_));
  QUANT_ASSIGN_OR_RETURN(options.token, ReadToken(token_file_));
  options.traceparent = TraceFromEnvironment();
  options.token_over_plaintext = token_over_plaintext_;
  if (files_.cert_file.empty() != files_.key_file.empty()) {
    return InvalidSpec("--tls-cert and --tls-key: give both or neither");
  }
  if (tls_ || !files_.ca_file.empty() || !files_.cert_file.empty()) {
    options.tls = files_;
  }
  return Client::Connect(server_, std::move(options));
}

std::string ServerFlags::ForCommandLine() const {
  return server_ == kDefaultServer ? "" : absl::StrCat(" --server ", server_);
}

absl::StatusOr<std::chrono::milliseconds> ParseDuration(
    const std::string& flag, const std::string& text) {
  absl::Duration duration;
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    return InvalidSpec(absl::StrCat(flag, ": \"", text,
                                    "\" is no duration; write 30s, 5m or 1h"));
  }
  if (duration <= absl::ZeroDuration() || duration > absl::Hours(24 * 365)) {
    return InvalidSpec(absl::StrCat(
        flag, ": ", text, " is out of range; allowed are 1ms to 8760h"));
  }
  return absl::ToChronoMilliseconds(duration);
}

absl::StatusOr<google::protobuf::Duration> ParseProtoDuration(
    const std::string& flag, const std::string& text) {
  QUANT_ASSIGN_OR_RETURN(const std::chrono::milliseconds duration,
                         ParseDuration(flag, text));
  return google::protobuf::util::TimeUtil::MillisecondsToDuration(
      duration.count());
}

std::string FullName(const std::string& collection, const std::string& name) {
  return absl::StrContains(name, '/') ? name
                                      : absl::StrCat(collection, "/", name);
}

}  // namespace quant::cli

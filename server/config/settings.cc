#include "server/config/settings.h"

#include <algorithm>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/loopback.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

using Values = std::vector<std::string>;

constexpr int kMaxWorkers = 256;

absl::Status CheckAddress(const std::string& address) {
  if (absl::StartsWith(address, "unix:") && address.size() > 5) {
    return absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return InvalidSpec(absl::StrCat(
        "\"", address, "\" is no address; want host:port, port 0..65535"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> ParseInt(const std::string& text, int least, int most) {
  int value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < least || value > most) {
    return InvalidSpec(absl::StrCat("\"", text, "\"; want a whole number ",
                                    least, "..", most));
  }
  return value;
}

absl::Status SetAddress(std::string& out, const std::string& text) {
  QUANT_RETURN_IF_ERROR(CheckAddress(text));
  out = text;
  return absl::OkStatus();
}

absl::Status SetListen(ServerConfig& config, const Values& values) {
  return SetAddress(config.listen, values[0]);
}

absl::Status SetHttpListen(ServerConfig& config, const Values& values) {
  if (absl::StartsWith(values[0], "unix:")) {
    return InvalidSpec("HTTP needs host:port");
  }
  return SetAddress(config.http_listen, values[0]);
}

absl::Status SetDataDir(ServerConfig& config, const Values& values) {
  if (values[0].empty()) return InvalidSpec("is empty; want a directory");
  if (PathExists(values[0]) && !IsDirectory(values[0])) {
    return InvalidSpec(absl::StrCat(values[0], " is not a directory"));
  }
  config.data_dir = values[0];
  return absl::OkStatus();
}

absl::Status SetModelRoots(ServerConfig& config, const Values& values) {
  config.model_roots.clear();
  for (const std::string& value : values) {
    auto resolved = ResolvePath(value);
    if (!resolved.ok() || !IsDirectory(*resolved)) {
      return InvalidSpec(absl::StrCat("\"", value, "\" is not a directory"));
    }
    config.model_roots.push_back(*std::move(resolved));
  }
  return absl::OkStatus();
}

absl::Status SetWorkers(ServerConfig& config, const Values& values) {
  QUANT_ASSIGN_OR_RETURN(config.workers, ParseInt(values[0], 0, kMaxWorkers));
  return absl::OkStatus();
}

absl::Status SetThreads(ServerConfig& config, const Values& values) {
  QUANT_ASSIGN_OR_RETURN(config.threads, ParseInt(values[0], 1, kMaxThreads));
  return absl::OkStatus();
}

absl::Status SetMemoryLimit(ServerConfig& config, const Values& values) {
  QUANT_ASSIGN_OR_RETURN(config.memory_limit_bytes, ParseBytes(values[0]));
  if (config.memory_limit_bytes < (64 << 20)) {
    return InvalidSpec(absl::StrCat("\"", values[0], "\"; want 64MiB or more"));
  }
  return absl::OkStatus();
}

absl::Status SetDrainTimeout(ServerConfig& config, const Values& values) {
  absl::Duration duration;
  if (!absl::ParseDuration(values[0], &duration) ||
      duration < absl::ZeroDuration() || duration > absl::Hours(24)) {
    return InvalidSpec(absl::StrCat(
        "\"", values[0], "\"; want a duration like 30s or 5m, up to 24h"));
  }
  config.drain_timeout = duration;
  return absl::OkStatus();
}

// 0: for ever.
absl::Status SetPeriod(absl::Duration& out, const std::string& text) {
  constexpr absl::Duration kLeast = absl::Minutes(1);
  constexpr absl::Duration kMost = absl::Hours(3650 * 24);
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) ||
      (duration != absl::ZeroDuration() &&
       (duration < kLeast || duration > kMost))) {
    return InvalidSpec(absl::StrCat(
        "\"", text, "\"; want a duration like 720h, 1m to 87600h, or 0"));
  }
  out = duration;
  return absl::OkStatus();
}

absl::Status SetRetention(ServerConfig& config, const Values& values) {
  return SetPeriod(config.retention, values[0]);
}

absl::Status SetUploadTtl(ServerConfig& config, const Values& values) {
  return SetPeriod(config.upload_ttl, values[0]);
}

absl::Status SetFile(std::string& out, const std::string& path) {
  const auto file = File::OpenRead(path);
  if (!file.ok()) {
    return InvalidSpec(
        absl::StrCat("can't be read: ", file.status().message()));
  }
  out = path;
  return absl::OkStatus();
}

absl::Status SetTlsCert(ServerConfig& config, const Values& values) {
  return SetFile(config.tls_cert, values[0]);
}
absl::Status SetTlsKey(ServerConfig& config, const Values& values) {
  return SetFile(config.tls_key, values[0]);
}
absl::Status SetTlsClientCa(ServerConfig& config, const Values& values) {
  return SetFile(config.tls_client_ca, values[0]);
}

absl::Status SetAuthFile(ServerConfig& config, const Values& values) {
  return SetFile(config.auth_file, values[0]);
}

absl::Status SetCount(int64_t& out, const std::string& text) {
  constexpr int kMaxCount = 1'000'000;
  QUANT_ASSIGN_OR_RETURN(out, ParseInt(text, 0, kMaxCount));
  return absl::OkStatus();
}

absl::Status SetMaxOpenJobs(ServerConfig& config, const Values& values) {
  return SetCount(config.max_open_jobs, values[0]);
}
absl::Status SetMaxStreams(ServerConfig& config, const Values& values) {
  return SetCount(config.max_streams, values[0]);
}
absl::Status SetMaxCallsPerSecond(ServerConfig& config, const Values& values) {
  return SetCount(config.max_calls_per_second, values[0]);
}

absl::Status SetMaxStoredBytes(ServerConfig& config, const Values& values) {
  QUANT_ASSIGN_OR_RETURN(config.max_stored_bytes, ParseBytes(values[0]));
  return absl::OkStatus();
}

absl::StatusOr<bool> ParseSwitch(const std::string& text) {
  bool value = false;
  if (!absl::SimpleAtob(text, &value)) {
    return InvalidSpec(absl::StrCat("\"", text, "\"; want true or false"));
  }
  return value;
}

absl::Status SetInsecure(ServerConfig& config, const Values& values) {
  QUANT_ASSIGN_OR_RETURN(config.insecure, ParseSwitch(values[0]));
  return absl::OkStatus();
}

absl::Status SetNoFsync(ServerConfig& config, const Values& values) {
  QUANT_ASSIGN_OR_RETURN(const bool no_fsync, ParseSwitch(values[0]));
  config.sync = !no_fsync;
  return absl::OkStatus();
}

absl::Status SetLogFormat(ServerConfig& config, const Values& values) {
  if (values[0] != "json" && values[0] != "text") {
    return InvalidSpec(absl::StrCat("\"", values[0], "\"; want json or text"));
  }
  config.log_format = values[0] == "json" ? LogFormat::kJson : LogFormat::kText;
  return absl::OkStatus();
}

using Kind = Setting::Kind;
constexpr Setting kSettings[] = {
    {"listen", "gRPC address (default 127.0.0.1:50051)", Kind::kValue, false,
     SetListen},
    {"http-listen",
     "Plaintext address of /metrics, /livez, /readyz (default 127.0.0.1:8080)",
     Kind::kValue, false, SetHttpListen},
    {"data-dir", "Where queue, artifacts and uploads live; required",
     Kind::kValue, false, SetDataDir},
    {"model-root",
     "Directory whose models jobs may name by path; repeatable "
     "(QUANT_MODEL_ROOT: separated by ':')",
     Kind::kList, false, SetModelRoots},
    {"workers",
     "Jobs that run at the same time (default 1; 0: none, only serve)",
     Kind::kValue, false, SetWorkers},
    {"threads", "Threads per job (default: cores / workers)", Kind::kValue,
     false, SetThreads},
    {"memory-limit",
     "Memory for all jobs together, e.g. 8GiB (default: what the control "
     "group or the machine has); a job waits until its plan's bound fits",
     Kind::kValue, false, SetMemoryLimit},
    {"drain-timeout",
     "How long a stopping server waits for its jobs to stop (default 30s)",
     Kind::kValue, false, SetDrainTimeout},
    {"retention",
     "How long ended jobs and their artifacts are kept when a job does not say "
     "so itself, e.g. 720h (default 0: for ever)",
     Kind::kValue, false, SetRetention},
    {"upload-ttl",
     "Uploads that no request or open job has used for so long are deleted, "
     "complete or not (default 168h; 0: never)",
     Kind::kValue, false, SetUploadTtl},
    {"tls-cert", "PEM certificate chain; gRPC then speaks TLS", Kind::kValue,
     false, SetTlsCert},
    {"tls-key", "PEM private key of --tls-cert", Kind::kValue, false,
     SetTlsKey},
    {"tls-client-ca", "PEM roots; clients must show a certificate of them",
     Kind::kValue, false, SetTlsClientCa},
    {"auth-file",
     "Who may do what: lines of name, role, tenant and sha256:DIGEST or "
     "cert:NAME (made by quantd token); watched for changes",
     Kind::kValue, false, SetAuthFile},
    {"max-open-jobs",
     "Jobs of one principal that have not ended (default 0: any number)",
     Kind::kValue, false, SetMaxOpenJobs},
    {"max-stored-bytes",
     "Bytes of uploads and artifacts of one tenant, e.g. 500GB (default 0: "
     "what the disk has)",
     Kind::kValue, false, SetMaxStoredBytes},
    {"max-streams",
     "Watches, uploads and downloads of one principal at a time (default 0: "
     "any number)",
     Kind::kValue, false, SetMaxStreams},
    {"max-calls-per-second",
     "Calls of one principal; unused ones are kept for two seconds (default 0: "
     "any number)",
     Kind::kValue, false, SetMaxCallsPerSecond},
    {"insecure", "Allow plaintext gRPC on an address other than loopback",
     Kind::kSwitch, false, SetInsecure},
    {"log-format", "json or text (default: text on a terminal, else json)",
     Kind::kValue, false, SetLogFormat},
    {"no-fsync", "Benchmarks only: a power loss may lose jobs", Kind::kSwitch,
     true, SetNoFsync},
};

}  // namespace

absl::Span<const Setting> Settings() { return kSettings; }

std::vector<std::string> CheckTogether(ServerConfig& config) {
  std::vector<std::string> problems;
  if (config.data_dir.empty()) {
    problems.push_back("--data-dir: is required; want a directory");
  }
  if (config.tls_cert.empty() != config.tls_key.empty()) {
    problems.push_back("--tls-cert, --tls-key: one without the other");
  }
  if (!config.tls_client_ca.empty() && config.tls_cert.empty()) {
    problems.push_back("--tls-client-ca: needs --tls-cert and --tls-key");
  }
  if (!IsLoopback(config.listen) && !config.tls() && !config.insecure) {
    problems.push_back(absl::StrCat(
        "--listen ", config.listen,
        ": other machines could reach it without encryption or "
        "authentication; give --tls-cert and --tls-key, or --insecure when "
        "the network is trusted"));
  }
  if (config.threads == 0) {
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    config.threads =
        std::clamp(cores / std::max(1, config.workers), 1, kMaxThreads);
  }
  if (config.memory_limit_bytes == 0) {
    config.memory_limit_bytes = AvailableMemoryBytes();
  }
  return problems;
}

}  // namespace quant

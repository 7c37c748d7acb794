// Everything that can be set on a server, checked.
#ifndef QUANT_SERVER_CONFIG_SERVER_CONFIG_H_
#define QUANT_SERVER_CONFIG_SERVER_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/telemetry/log.h"

namespace quant {

struct ServerConfig {
  std::string listen = "127.0.0.1:50051";      // gRPC
  std::string http_listen = "127.0.0.1:8080";  // metrics and probes; plaintext
  std::string data_dir;                        // queue, artifacts, uploads
  std::vector<std::string> model_roots;        // resolved directories
  int workers = 1;                             // jobs at the same time
  int threads = 0;                             // per job, never 0 once parsed
  int64_t memory_limit_bytes = 0;              // for all jobs together
  absl::Duration drain_timeout = absl::Seconds(30);
  std::string tls_cert;  // PEM files; empty = plaintext
  std::string tls_key;
  std::string tls_client_ca;  // clients must show a certificate of it
  bool insecure = false;      // plaintext off loopback is wanted
  // Per principal or tenant; 0 = no limit.
  int64_t max_open_jobs = 0;
  int64_t max_stored_bytes = 0;
  int64_t max_streams = 0;
  int64_t max_calls_per_second = 0;
  absl::Duration retention;                      // of ended jobs; 0: for ever
  absl::Duration upload_ttl = absl::Hours(168);  // without use; 0: for ever
  std::string auth_file;  // who may do what; empty = whoever connects, all
  LogFormat log_format = LogFormat::kText;
  bool sync = true;  // false (benchmarks only): power loss may lose jobs

  // The texts that were given, by setting.
  std::map<std::string, std::vector<std::string>> given;

  bool tls() const { return !tls_cert.empty(); }
};

// What this process may use: the cgroup's limit, or the machine's memory.
int64_t AvailableMemoryBytes();

}  // namespace quant

#endif  // QUANT_SERVER_CONFIG_SERVER_CONFIG_H_

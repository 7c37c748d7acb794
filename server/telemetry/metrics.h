// What the server counts, as typed members: no metric or label is named
// outside this room. All methods are thread-safe and cheap.
#ifndef QUANT_SERVER_TELEMETRY_METRICS_H_
#define QUANT_SERVER_TELEMETRY_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quant {

// One RPC method; resolve it once and keep the reference.
class RpcMethodMetrics {
 public:
  RpcMethodMetrics(prometheus::Registry& registry, const std::string& method);
  void Started() { started_->Increment(); }
  void Handled(absl::StatusCode code, double seconds);

 private:
  static constexpr int kCodes = 17;
  prometheus::Counter* started_;
  prometheus::Histogram* seconds_;
  std::array<prometheus::Counter*, kCodes> handled_;
};

class RpcMetrics {
 public:
  explicit RpcMetrics(prometheus::Registry& registry);
  // `method` as "quant.v1.JobService/CreateJob", from the descriptors, never
  // from a peer. The reference lives as long as this.
  RpcMethodMetrics& Method(const std::string& method);
  // Tasks that wait for a thread of the executor ("io", "compute").
  void SetQueued(const std::string& executor, int64_t tasks);
  // Watches, uploads, downloads and logs that are open.
  void SetStreams(int64_t count) { streams_.Set(static_cast<double>(count)); }
  // Calls that were turned away before any work, by a constant reason.
  void Rejected(const std::string& reason);

 private:
  prometheus::Registry& registry_;
  prometheus::Family<prometheus::Counter>& rejected_;
  prometheus::Family<prometheus::Gauge>& queued_;
  prometheus::Gauge& streams_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<RpcMethodMetrics>> methods_;
};

class WatchMetrics {
 public:
  explicit WatchMetrics(prometheus::Registry& registry);
  void Opened() { active_.Increment(); }
  // "final", "cancelled", "slow_consumer", "recycled", "draining", ...
  void Closed(const std::string& reason);

 private:
  prometheus::Gauge& active_;
  prometheus::Family<prometheus::Counter>& closed_;
};

class QueueMetrics {
 public:
  explicit QueueMetrics(prometheus::Registry& registry);
  // `state` as "QUEUED", ...
  void SetJobs(const std::string& state, int64_t count);
  void SetPaused(bool paused) { paused_.Set(paused ? 1 : 0); }
  // Jobs that wait, and the age of the oldest, by `priority`: "NORMAL", ...
  void SetWaiting(const std::string& priority, int64_t jobs, double age);
  // From creation (or the end of the backoff) to the claim.
  void Waited(double seconds) { wait_.Observe(seconds); }
  // A durable commit of the store took so long.
  void Committed(double seconds) { commit_seconds_.Observe(seconds); }
  void SetWalBytes(int64_t bytes) {
    wal_bytes_.Set(static_cast<double>(bytes));
  }
  // Totals of the store since it was opened.
  void SetCommits(int64_t commits, int64_t commands);
  // As SetCommits: calls answered with a job that there was, and writes of
  // attempts that had lost their lease.
  void SetRepeats(int64_t repeats);
  void SetFenced(int64_t writes);
  void LeaseLost() { lease_lost_.Increment(); }
  void LeasesExpired(int64_t count) { rescued_.Increment(count); }

 private:
  prometheus::Family<prometheus::Gauge>& jobs_;
  prometheus::Gauge& paused_;
  prometheus::Family<prometheus::Gauge>& waiting_;
  prometheus::Family<prometheus::Gauge>& oldest_age_;
  prometheus::Histogram& wait_;
  prometheus::Histogram& commit_seconds_;
  prometheus::Gauge& wal_bytes_;
  prometheus::Counter& commits_;
  prometheus::Counter& commands_;
  prometheus::Counter& repeats_;
  prometheus::Counter& fenced_;
  prometheus::Counter& lease_lost_;
  prometheus::Counter& rescued_;
  std::mutex mutex_;  // for counters that follow totals
};

class JobMetrics {
 public:
  explicit JobMetrics(prometheus::Registry& registry);
  // An attempt ended: `outcome` "succeeded", "crashed", ...; `reason` one of
  // core/base/error.h or empty. `seconds` of this attempt.
  void AttemptEnded(const std::string& outcome, const std::string& reason,
                    double seconds);
  // A job of `method` ("gptq", ...; "several" of its outputs) reached a
  // terminal state after so many attempts and seconds since its creation.
  void Completed(const std::string& method, const std::string& outcome,
                 const std::string& reason, int attempts, double seconds);
  void Stage(const std::string& stage, double seconds);
  // What an attempt's process took at most, and what its plan allowed.
  void Memory(int64_t peak_bytes, int64_t bound_bytes);
  void TensorsRedone(int64_t count) { redone_.Increment(count); }
  void TensorsResumed(int64_t count) { resumed_.Increment(count); }

 private:
  prometheus::Family<prometheus::Counter>& attempts_;
  prometheus::Family<prometheus::Counter>& completed_;
  prometheus::Family<prometheus::Histogram>& attempt_seconds_;
  prometheus::Family<prometheus::Histogram>& duration_;
  prometheus::Family<prometheus::Histogram>& stage_;
  prometheus::Histogram& attempts_per_job_;
  prometheus::Histogram& memory_ratio_;
  prometheus::Counter& redone_;
  prometheus::Counter& resumed_;
};

class WorkerMetrics {
 public:
  explicit WorkerMetrics(prometheus::Registry& registry);
  void SetCapacity(int slots) { capacity_.Set(slots); }
  void SetSlots(int idle, int busy, int draining);
  // Of the memory for all attempts; limit 0: none.
  void SetMemory(int64_t granted_bytes, int64_t limit_bytes);
  // Whether the last worker process got all of its sandbox; not shown before.
  void SetConfined(bool confined) { confined_.Add({}).Set(confined ? 1 : 0); }

 private:
  prometheus::Gauge& capacity_;
  prometheus::Gauge& idle_;
  prometheus::Gauge& busy_;
  prometheus::Gauge& draining_;
  prometheus::Gauge& memory_granted_;
  prometheus::Gauge& memory_limit_;
  prometheus::Family<prometheus::Gauge>& confined_;
};

class StorageMetrics {
 public:
  explicit StorageMetrics(prometheus::Registry& registry);
  void SetFree(int64_t bytes) { free_.Set(static_cast<double>(bytes)); }
  void SetUsed(int64_t bytes) { used_.Set(static_cast<double>(bytes)); }
  // Deleted because their time was over: `kind` "job", "artifact" or "upload".
  void Swept(const std::string& kind, int64_t count);
  void Read(int64_t bytes) { read_.Increment(static_cast<double>(bytes)); }
  void Written(int64_t bytes) {
    written_.Increment(static_cast<double>(bytes));
  }

 private:
  prometheus::Gauge& free_;
  prometheus::Gauge& used_;
  prometheus::Family<prometheus::Counter>& swept_;
  prometheus::Counter& read_;
  prometheus::Counter& written_;
};

// process_* under the names that dashboards know; read at each scrape.
class ProcessMetrics {
 public:
  explicit ProcessMetrics(prometheus::Registry& registry);
  void Update();

 private:
  prometheus::Gauge& resident_;
  prometheus::Gauge& virtual_;
  prometheus::Gauge& open_fds_;
  prometheus::Gauge& max_fds_;
  prometheus::Gauge& start_time_;
  prometheus::Counter& cpu_seconds_;
  std::mutex mutex_;
};

class TlsMetrics {
 public:
  explicit TlsMetrics(prometheus::Registry& registry);
  // Nothing is shown before the first call: a server without TLS has none.
  void SetCertificateExpiry(int64_t unix_seconds);

 private:
  prometheus::Family<prometheus::Gauge>& expiry_;
};

class AuthMetrics {
 public:
  explicit AuthMetrics(prometheus::Registry& registry);
  // The file of --auth-file was taken, or refused; nothing is shown before.
  void Loaded(int64_t principals);
  void LoadFailed();

 private:
  prometheus::Family<prometheus::Gauge>& principals_;
  prometheus::Family<prometheus::Counter>& failures_;
};

class ConfigMetrics {
 public:
  explicit ConfigMetrics(prometheus::Registry& registry);
  // Settings were read, at the start or again: taken, with so many that wait
  // for a restart, or refused.
  void Taken(int64_t waiting);
  void Refused();

 private:
  prometheus::Counter& taken_;
  prometheus::Counter& refused_;
  prometheus::Gauge& last_ok_;
  prometheus::Gauge& waiting_;
};

class Metrics {
 public:
  Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

 private:
  prometheus::Registry registry_;

 public:
  RpcMetrics rpc;
  WatchMetrics watch;
  QueueMetrics queue;
  JobMetrics jobs;
  WorkerMetrics workers;
  StorageMetrics storage;
  TlsMetrics tls;
  AuthMetrics auth;
  ConfigMetrics config;

  // Everything in the Prometheus text format, version 0.0.4.
  std::string Render();

 private:
  ProcessMetrics process_;
};

}  // namespace quant

#endif  // QUANT_SERVER_TELEMETRY_METRICS_H_

#include "server/telemetry/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>

#include "core/base/version.h"

namespace quant {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;
using Buckets = Histogram::BucketBoundaries;

Family<Counter>& CounterFamily(Registry& registry, const char* name,
                               const char* help) {
  return BuildCounter().Name(name).Help(help).Register(registry);
}

Family<Gauge>& GaugeFamily(Registry& registry, const char* name,
                           const char* help) {
  return BuildGauge().Name(name).Help(help).Register(registry);
}

Family<Histogram>& HistogramFamily(Registry& registry, const char* name,
                                   const char* help) {
  return BuildHistogram().Name(name).Help(help).Register(registry);
}

// Sub-millisecond reads to five-minute streams.
const Buckets& RpcBuckets() {
  static const Buckets* buckets = new Buckets{
      .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15, 60, 300};
  return *buckets;
}

// Jobs take from a tenth of a second to a day.
const Buckets& JobBuckets() {
  static const Buckets* buckets =
      new Buckets{.1, .25, .5,  1,   2.5,  5,    10,    30,
                  60, 120, 300, 900, 3600, 7200, 21600, 86400};
  return *buckets;
}

// Counters from totals: adds what came since the last call.
void RaiseTo(Counter& counter, double total) {
  counter.Increment(std::max(0.0, total - counter.Value()));
}

// Names of quant.v1 and google.rpc codes, as clients print them.
const char* CodeName(int code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  return kNames[code];
}

}  // namespace

RpcMethodMetrics::RpcMethodMetrics(Registry& registry,
                                   const std::string& method)
    : started_(&CounterFamily(registry, "quant_grpc_server_started_total",
                              "RPCs that began")
                    .Add({{"method", method}})),
      seconds_(&HistogramFamily(registry, "quant_grpc_server_handling_seconds",
                                "Time from the start of an RPC to its end")
                    .Add({{"method", method}}, RpcBuckets())) {
  auto& handled = CounterFamily(registry, "quant_grpc_server_handled_total",
                                "RPCs that ended, by status code");
  for (int code = 0; code < kCodes; ++code) {
    handled_[code] =
        &handled.Add({{"method", method}, {"code", CodeName(code)}});
  }
}

void RpcMethodMetrics::Handled(absl::StatusCode code, double seconds) {
  const int index = static_cast<int>(code);
  const int unknown = static_cast<int>(absl::StatusCode::kUnknown);
  handled_[index >= 0 && index < kCodes ? index : unknown]->Increment();
  seconds_->Observe(seconds);
}

RpcMetrics::RpcMetrics(Registry& registry)
    : registry_(registry),
      rejected_(CounterFamily(registry, "quant_rpc_rejected_total",
                              "RPCs turned away before any work")),
      queued_(GaugeFamily(registry, "quant_executor_queued",
                          "Tasks that wait for a thread of the server")),
      streams_(GaugeFamily(registry, "quant_streams_active",
                           "Open streams of all kinds")
                   .Add({})) {}

void RpcMetrics::SetQueued(const std::string& executor, int64_t tasks) {
  queued_.Add({{"executor", executor}}).Set(static_cast<double>(tasks));
}

RpcMethodMetrics& RpcMetrics::Method(const std::string& method) {
  std::lock_guard lock(mutex_);
  auto& slot = methods_[method];
  if (!slot) slot = std::make_unique<RpcMethodMetrics>(registry_, method);
  return *slot;
}

void RpcMetrics::Rejected(const std::string& reason) {
  rejected_.Add({{"reason", reason}}).Increment();
}

WatchMetrics::WatchMetrics(Registry& registry)
    : active_(GaugeFamily(registry, "quant_watch_active", "Open watch streams")
                  .Add({})),
      closed_(CounterFamily(registry, "quant_watch_closed_total",
                            "Watch streams that ended, by reason")) {}

void WatchMetrics::Closed(const std::string& reason) {
  active_.Decrement();
  closed_.Add({{"reason", reason}}).Increment();
}

QueueMetrics::QueueMetrics(Registry& registry)
    : jobs_(GaugeFamily(registry, "quant_queue_jobs", "Jobs by state")),
      paused_(GaugeFamily(registry, "quant_queue_paused",
                          "Whether an operator has paused or drained the queue")
                  .Add({})),
      waiting_(GaugeFamily(registry, "quant_queue_waiting_jobs",
                           "Queued jobs by priority")),
      oldest_age_(GaugeFamily(registry, "quant_queue_oldest_age_seconds",
                              "Age of the oldest queued job by priority")),
      wait_(HistogramFamily(registry, "quant_queue_wait_seconds",
                            "Time a job was due before a worker took it")
                .Add({}, Buckets{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30,
                                 60, 300, 1800, 7200, 28800, 86400})),
      commit_seconds_(
          HistogramFamily(registry, "quant_db_commit_seconds",
                          "Time of durable commits: mostly one fsync")
              .Add({}, Buckets{.0005, .001, .0025, .005, .01, .025, .05, .1,
                               .25, .5, 1, 5})),
      wal_bytes_(GaugeFamily(registry, "quant_db_wal_bytes",
                             "Write-ahead log that no checkpoint took over")
                     .Add({})),
      commits_(CounterFamily(registry, "quant_db_commits_total",
                             "Durable commits of the job store")
                   .Add({})),
      commands_(CounterFamily(registry, "quant_db_commands_total",
                              "Writes that shared those commits")
                    .Add({})),
      repeats_(CounterFamily(registry, "quant_dedup_total",
                             "CreateJob answered with a job that there was")
                   .Add({{"kind", "request"}})),
      fenced_(CounterFamily(registry, "quant_fenced_writes_total",
                            "Writes of attempts whose lease had ended, refused")
                  .Add({})),
      lease_lost_(CounterFamily(registry, "quant_lease_lost_total",
                                "Attempts that lost their lease")
                      .Add({})),
      rescued_(CounterFamily(registry, "quant_jobs_rescued_total",
                             "Jobs whose lease ran out and was taken back")
                   .Add({})) {}

void QueueMetrics::SetJobs(const std::string& state, int64_t count) {
  jobs_.Add({{"state", state}}).Set(static_cast<double>(count));
}

void QueueMetrics::SetCommits(int64_t commits, int64_t commands) {
  std::lock_guard lock(mutex_);
  RaiseTo(commits_, static_cast<double>(commits));
  RaiseTo(commands_, static_cast<double>(commands));
}

void QueueMetrics::SetWaiting(const std::string& priority, int64_t jobs,
                              double age) {
  waiting_.Add({{"priority", priority}}).Set(static_cast<double>(jobs));
  oldest_age_.Add({{"priority", priority}}).Set(age);
}

void QueueMetrics::SetRepeats(int64_t repeats) {
  std::lock_guard lock(mutex_);
  RaiseTo(repeats_, static_cast<double>(repeats));
}

void QueueMetrics::SetFenced(int64_t writes) {
  std::lock_guard lock(mutex_);
  RaiseTo(fenced_, static_cast<double>(writes));
}

JobMetrics::JobMetrics(Registry& registry)
    : attempts_(CounterFamily(registry, "quant_attempts_total",
                              "Attempts that ended, by outcome")),
      completed_(CounterFamily(registry, "quant_jobs_completed_total",
                               "Jobs that reached a terminal state")),
      attempt_seconds_(HistogramFamily(registry, "quant_attempt_seconds",
                                       "Duration of attempts")),
      duration_(HistogramFamily(registry, "quant_job_duration_seconds",
                                "From a job's creation to its end")),
      stage_(HistogramFamily(registry, "quant_job_stage_seconds",
                             "Duration of the stages of attempts")),
      attempts_per_job_(
          HistogramFamily(registry, "quant_job_attempts", "Attempts a job took")
              .Add({}, Buckets{1, 2, 3, 4, 5, 8})),
      memory_ratio_(HistogramFamily(registry, "quant_attempt_memory_ratio",
                                    "Peak memory of an attempt's process, as "
                                    "part of its plan's bound")
                        .Add({}, Buckets{.1, .25, .5, .75, .9, 1, 1.1, 1.5})),
      redone_(CounterFamily(registry, "quant_tensors_redone_total",
                            "Tensors begun by an attempt and done again")
                  .Add({})),
      resumed_(CounterFamily(registry, "quant_tensors_resumed_total",
                             "Tensors taken over from an earlier attempt")
                   .Add({})) {}

void JobMetrics::AttemptEnded(const std::string& outcome,
                              const std::string& reason, double seconds) {
  attempts_.Add({{"outcome", outcome}, {"reason", reason}}).Increment();
  attempt_seconds_.Add({{"outcome", outcome}}, JobBuckets()).Observe(seconds);
}

void JobMetrics::Completed(const std::string& method,
                           const std::string& outcome,
                           const std::string& reason, int attempts,
                           double seconds) {
  completed_.Add({{"outcome", outcome}, {"reason", reason}}).Increment();
  attempts_per_job_.Observe(attempts);
  duration_.Add({{"method", method}, {"outcome", outcome}}, JobBuckets())
      .Observe(seconds);
}

void JobMetrics::Stage(const std::string& stage, double seconds) {
  stage_.Add({{"stage", stage}}, JobBuckets()).Observe(seconds);
}

void JobMetrics::Memory(int64_t peak_bytes, int64_t bound_bytes) {
  if (peak_bytes <= 0 || bound_bytes <= 0) return;
  memory_ratio_.Observe(static_cast<double>(peak_bytes) /
                        static_cast<double>(bound_bytes));
}

WorkerMetrics::WorkerMetrics(Registry& registry)
    : capacity_(GaugeFamily(registry, "quant_workers_capacity",
                            "Jobs that may run at the same time")
                    .Add({})),
      idle_(GaugeFamily(registry, "quant_workers", "Worker slots by state")
                .Add({{"state", "idle"}})),
      busy_(GaugeFamily(registry, "quant_workers", "Worker slots by state")
                .Add({{"state", "busy"}})),
      draining_(GaugeFamily(registry, "quant_workers", "Worker slots by state")
                    .Add({{"state", "draining"}})),
      memory_granted_(GaugeFamily(registry, "quant_memory_granted_bytes",
                                  "What the plans of running attempts may take")
                          .Add({})),
      memory_limit_(GaugeFamily(registry, "quant_memory_limit_bytes",
                                "What all attempts together may take")
                        .Add({})),
      confined_(GaugeFamily(registry, "quant_worker_confined",
                            "1 when the last worker process got all of its "
                            "sandbox, 0 when the kernel lacks a part")) {}

void WorkerMetrics::SetSlots(int idle, int busy, int draining) {
  idle_.Set(idle);
  busy_.Set(busy);
  draining_.Set(draining);
}

void WorkerMetrics::SetMemory(int64_t granted_bytes, int64_t limit_bytes) {
  memory_granted_.Set(static_cast<double>(granted_bytes));
  memory_limit_.Set(static_cast<double>(limit_bytes));
}

StorageMetrics::StorageMetrics(Registry& registry)
    : free_(GaugeFamily(registry, "quant_storage_free_bytes",
                        "Free bytes on the data directory's file system")
                .Add({})),
      used_(GaugeFamily(registry, "quant_storage_used_bytes",
                        "Bytes of published artifacts")
                .Add({})),
      swept_(CounterFamily(registry, "quant_storage_swept_total",
                           "What was deleted because its time was over")),
      read_(CounterFamily(registry, "quant_storage_read_bytes_total",
                          "Bytes of artifacts served")
                .Add({})),
      written_(CounterFamily(registry, "quant_storage_written_bytes_total",
                             "Bytes of uploads received")
                   .Add({})) {}

void StorageMetrics::Swept(const std::string& kind, int64_t count) {
  swept_.Add({{"kind", kind}}).Increment(static_cast<double>(count));
}

TlsMetrics::TlsMetrics(Registry& registry)
    : expiry_(GaugeFamily(registry, "quant_tls_cert_expiry_timestamp_seconds",
                          "End of the server's certificate since the Unix "
                          "epoch")) {}

void TlsMetrics::SetCertificateExpiry(int64_t unix_seconds) {
  expiry_.Add({}).Set(static_cast<double>(unix_seconds));
}

AuthMetrics::AuthMetrics(Registry& registry)
    : principals_(GaugeFamily(registry, "quant_auth_principals",
                              "Who is known by the file of --auth-file")),
      failures_(CounterFamily(
          registry, "quant_auth_reload_failures_total",
          "Files of --auth-file that were refused; the one before stays")) {}

void AuthMetrics::Loaded(int64_t principals) {
  principals_.Add({}).Set(static_cast<double>(principals));
}

void AuthMetrics::LoadFailed() { failures_.Add({}).Increment(); }

ConfigMetrics::ConfigMetrics(Registry& registry)
    : taken_(CounterFamily(registry, "quant_config_loads_total",
                           "Readings of the settings, by result")
                 .Add({{"result", "taken"}})),
      refused_(CounterFamily(registry, "quant_config_loads_total",
                             "Readings of the settings, by result")
                   .Add({{"result", "refused"}})),
      last_ok_(GaugeFamily(registry, "quant_config_last_load_successful",
                           "0 while the settings on the disk are refused and "
                           "those from before hold")
                   .Add({})),
      waiting_(GaugeFamily(registry, "quant_config_restart_settings",
                           "Settings that have changed and wait for a restart")
                   .Add({})) {}

void ConfigMetrics::Taken(int64_t waiting) {
  taken_.Increment();
  last_ok_.Set(1);
  waiting_.Set(static_cast<double>(waiting));
}

void ConfigMetrics::Refused() {
  refused_.Increment();
  last_ok_.Set(0);
}

Metrics::Metrics()
    : rpc(registry_),
      watch(registry_),
      queue(registry_),
      jobs(registry_),
      workers(registry_),
      storage(registry_),
      tls(registry_),
      auth(registry_),
      config(registry_),
      process_(registry_) {
  GaugeFamily(registry_, "quant_build_info", "Version of this server; always 1")
      .Add({{"version", kVersion}})
      .Set(1);
}

std::string Metrics::Render() {
  process_.Update();
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, registry_.Collect());
  return out.str();
}

}  // namespace quant

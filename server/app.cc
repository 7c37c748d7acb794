#include "server/app.h"

#include <openssl/rand.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "quant/v1/job.pb.h"
#include "server/api/api_server.h"
#include "server/api/credentials.h"
#include "server/auth/authenticator.h"
#include "server/config/reload.h"
#include "server/data_dir.h"
#include "server/maintenance/janitor.h"
#include "server/queue/sqlite_job_store.h"
#include "server/store/local_artifact_store.h"
#include "server/store/local_upload_store.h"
#include "server/telemetry/http_server.h"
#include "server/telemetry/log.h"
#include "server/worker/worker_pool.h"

namespace quant {
namespace {

constexpr int kIoThreads = 4;
constexpr int kIoQueue = 4096;
constexpr int kComputeThreads = 2;
constexpr int kComputeQueue = 256;
constexpr int kMaxStreams = 20'000;
// Open calls may go on for so long once everything else has stopped.
constexpr int64_t kCallGraceMicros = 2'000'000;
// A drain that hangs is ended this long after its time was over.
constexpr absl::Duration kWatchdogGrace = absl::Seconds(10);
constexpr int kWatchdogExitCode = 3;

// Tells the leases of this process from those of one before it.
std::string NewIncarnation() {
  char bytes[16];
  RAND_bytes(reinterpret_cast<unsigned char*>(bytes), sizeof(bytes));
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

// "host:port" as it was asked for, with the port that was taken.
std::string BoundAddress(const std::string& listen, int port) {
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos || listen.rfind("unix:", 0) == 0) {
    return listen;
  }
  return absl::StrCat(listen.substr(0, colon), ":", port);
}

// Jobs whose work directory a later attempt may want.
absl::StatusOr<std::vector<std::string>> JobsWithWork(JobStore& jobs) {
  ListQuery query;
  query.limit = 1000;
  query.states = {JobState::kQueued, JobState::kRunning, JobState::kCancelling,
                  JobState::kFailed, JobState::kCancelled};
  std::vector<std::string> out;
  for (;;) {
    QUANT_ASSIGN_OR_RETURN(std::vector<JobRecord> page, jobs.List(query));
    for (const JobRecord& record : page) out.push_back(record.id);
    if (page.size() < static_cast<size_t>(query.limit)) return out;
    query.before_id = page.back().id;
  }
}

// Runs until destroyed: ends the process when a drain never returns.
void StartWatchdog(absl::Duration limit) {
  std::thread([limit] {
    std::this_thread::sleep_for(absl::ToChronoMilliseconds(limit));
    Log(LogLevel::kError, "drain_hung", {{"exit_code", kWatchdogExitCode}});
    _exit(kWatchdogExitCode);
  }).detach();
}

}  // namespace

// In the order of construction; what is used comes before its users.
struct App::Parts {
  Parts(const ServerConfig& config, DataDir data)
      : config(config),
        data_dir(std::move(data)),
        retention_micros(absl::ToInt64Microseconds(config.retention)) {
    metrics.config.Taken(/*waiting=*/0);
  }

  absl::Status LoadAuthFile();
  absl::Status OpenStores();
  absl::Status StartPlanner();
  absl::Status StartServing();
  void StartWorkers();
  void StartJanitor();
  Limits LimitsOfConfig() const;
  JanitorOptions JanitorOptionsOfConfig() const;
  void Reload(const absl::StatusOr<ServerConfig>& next);
  std::string RenderMetrics();
  void Drain();

  // What is reloadable of it belongs to the thread of Reload and Drain; the
  // rest never changes.
  ServerConfig config;
  const DataDir data_dir;
  std::atomic<int64_t> retention_micros;
  const std::string owner = NewIncarnation();
  Metrics metrics;
  std::unique_ptr<Authenticator> authenticator;
  std::unique_ptr<Limiter> limiter;
  std::unique_ptr<JobStore> jobs;
  std::unique_ptr<ArtifactStore> artifacts;
  std::unique_ptr<UploadStore> uploads;
  std::unique_ptr<JobLogs> logs;
  std::unique_ptr<Planner> planner;
  std::unique_ptr<Executor> io;
  std::unique_ptr<Executor> compute;
  std::unique_ptr<Streams> streams;
  std::unique_ptr<ApiEnv> env;
  std::unique_ptr<WorkerPool> workers;
  std::unique_ptr<Janitor> janitor;
  std::unique_ptr<ApiServer> api;
  std::unique_ptr<HttpServer> http;
  std::string grpc_address;
  std::string http_address;
  std::atomic<bool> workers_up = false;  // from then on they may be asked
  std::atomic<bool> drained = false;
};

absl::Status App::Parts::LoadAuthFile() {
  if (config.auth_file.empty()) return absl::OkStatus();
  auto loaded = [this](const absl::StatusOr<int64_t>& principals) {
    if (principals.ok()) {
      metrics.auth.Loaded(*principals);
      Log(LogLevel::kInfo, "auth_file_loaded",
          {{"path", config.auth_file}, {"principals", *principals}});
      return;
    }
    metrics.auth.LoadFailed();
    Log(LogLevel::kError, "auth_file_refused",
        {{"path", config.auth_file}, {"msg", principals.status().message()}});
  };
  QUANT_ASSIGN_OR_RETURN(
      authenticator,
      Authenticator::Open(config.auth_file, {.loaded = std::move(loaded)}));
  return absl::OkStatus();
}

absl::Status App::Parts::OpenStores() {
  SqliteJobStoreConfig queue = {.path = data_dir.queue_path()};
  queue.options.committed = [this](double seconds) {
    metrics.queue.Committed(seconds);
  };
  QUANT_ASSIGN_OR_RETURN(jobs, OpenSqliteJobStore(queue));
  // Nobody else can be working for this store: its directory is locked.
  QUANT_ASSIGN_OR_RETURN(int64_t released, jobs->ReleaseAllBut(owner));
  QUANT_ASSIGN_OR_RETURN(
      artifacts,
      OpenLocalArtifactStore(data_dir.path(), {.sync = config.sync}));
  QUANT_ASSIGN_OR_RETURN(
      uploads, OpenLocalUploadStore(data_dir.path(), {.sync = config.sync}));
  QUANT_ASSIGN_OR_RETURN(logs, JobLogs::Open(data_dir.path()));
  if (jobs->Control().mode != QueueMode::kOpen) {
    Log(LogLevel::kWarning, "queue_paused",
        {{"msg", "no job is started before quantctl queue resume"}});
  }
  QUANT_ASSIGN_OR_RETURN(std::vector<std::string> keep, JobsWithWork(*jobs));
  QUANT_ASSIGN_OR_RETURN(int64_t freed, artifacts->Sweep(keep));
  Log(LogLevel::kInfo, "stores_opened",
      {{"data_dir", data_dir.path()},
       {"released_jobs", released},
       {"swept_bytes", freed}});
  return absl::OkStatus();
}

absl::Status App::Parts::StartPlanner() {
  PlannerOptions options;
  options.model_roots = config.model_roots;
  options.threads = config.threads;
  options.upload_directory = [this](const std::string& id) {
    return uploads->Directory(id);
  };
  QUANT_ASSIGN_OR_RETURN(planner, Planner::Create(std::move(options)));
  io = std::make_unique<Executor>("io", kIoThreads, kIoQueue);
  compute =
      std::make_unique<Executor>("compute", kComputeThreads, kComputeQueue);
  return absl::OkStatus();
}

absl::Status App::Parts::StartServing() {
  const Clock& clock = Clock::System();
  streams = std::make_unique<Streams>(clock, kMaxStreams);
  ApiOptions options;
  QUANT_ASSIGN_OR_RETURN(options.page_token_key, data_dir.PageTokenKey());
  options.memory_limit_bytes = config.memory_limit_bytes;
  options.retention_micros = &retention_micros;
  limiter = std::make_unique<Limiter>(LimitsOfConfig(), clock);
  env.reset(new ApiEnv{*jobs, *artifacts, *uploads, *logs, *planner, *io,
                       *compute, *streams, metrics, clock, std::move(options),
                       authenticator.get(), limiter.get()});
  const TlsFiles tls = {.cert = config.tls_cert,
                        .key = config.tls_key,
                        .client_ca = config.tls_client_ca};
  QUANT_ASSIGN_OR_RETURN(
      api, ApiServer::Start({.listen = config.listen, .tls = tls}, *env));
  grpc_address = BoundAddress(config.listen, api->port());
  HttpServer::Handlers handlers;
  handlers.metrics = [this] { return RenderMetrics(); };
  handlers.live = [] { return true; };
  handlers.ready = [this] { return !streams->draining(); };
  QUANT_ASSIGN_OR_RETURN(
      http, HttpServer::Start(config.http_listen, std::move(handlers)));
  http_address = BoundAddress(config.http_listen, http->port());
  return absl::OkStatus();
}

std::string App::Parts::RenderMetrics() {
  QueueStats stats = jobs->Stats();
  for (JobState state :
       {JobState::kQueued, JobState::kRunning, JobState::kCancelling,
        JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
    const auto found = stats.jobs.find(state);
    metrics.queue.SetJobs(JobStateName(state),
                          found == stats.jobs.end() ? 0 : found->second);
  }
  metrics.queue.SetPaused(jobs->Control().mode != QueueMode::kOpen);
  const int64_t now = env->clock.NowMicros();
  for (int priority = kLeastPriority; priority <= kMostPriority; ++priority) {
    const QueueStats::Waiting waiting = stats.waiting[priority];
    const int64_t age =
        waiting.jobs == 0 ? 0 : now - waiting.oldest_create_time;
    metrics.queue.SetWaiting(v1::JobSpec::Priority_Name(priority), waiting.jobs,
                             static_cast<double>(age) * 1e-6);
  }
  metrics.queue.SetCommits(stats.commits, stats.commands);
  metrics.queue.SetRepeats(stats.repeats);
  metrics.queue.SetFenced(stats.fenced);
  if (auto wal = IdentityOf(data_dir.queue_path() + "-wal"); wal.ok()) {
    metrics.queue.SetWalBytes(wal->size_bytes);
  }
  metrics.rpc.SetQueued("io", io->depth());
  metrics.rpc.SetQueued("compute", compute->depth());
  metrics.rpc.SetStreams(streams->size());
  if (workers_up) {
    metrics.workers.SetMemory(workers->granted_memory_bytes(),
                              config.memory_limit_bytes);
  }
  if (auto free = artifacts->FreeBytes(); free.ok()) {
    metrics.storage.SetFree(*free);
  }
  if (auto used = artifacts->UsedBytes(); used.ok()) {
    metrics.storage.SetUsed(*used);
  }
  if (config.tls()) {
    if (auto expiry = CertificateExpiry(config.tls_cert); expiry.ok()) {
      metrics.tls.SetCertificateExpiry(*expiry);
    }
  }
  return metrics.Render();
}

void App::Parts::StartWorkers() {
  WorkerOptions options;
  options.slots = config.workers;
  options.threads_per_job = config.threads;
  options.memory_limit_bytes = config.memory_limit_bytes;
  options.owner = owner;
  options.sync = config.sync;
  workers = std::make_unique<WorkerPool>(
      WorkerStores{*jobs, *artifacts, *logs}, metrics,
      [this](const v1::Source& source) {
        return planner->ResolveSource(source);
      },
      std::move(options));
  workers_up = true;
}

Limits App::Parts::LimitsOfConfig() const {
  return {.open_jobs = config.max_open_jobs,
          .stored_bytes = config.max_stored_bytes,
          .streams = config.max_streams,
          .calls_per_second = config.max_calls_per_second};
}

JanitorOptions App::Parts::JanitorOptionsOfConfig() const {
  return {.retention_micros = absl::ToInt64Microseconds(config.retention),
          .upload_ttl_micros = absl::ToInt64Microseconds(config.upload_ttl)};
}

void App::Parts::Reload(const absl::StatusOr<ServerConfig>& next) {
  if (!next.ok()) {
    metrics.config.Refused();
    return Log(LogLevel::kError, "config_refused",
               {{"msg", next.status().message()}});
  }
  const ConfigChanges changes = TakeOver(*next, config);
  limiter->SetLimits(LimitsOfConfig());
  janitor->SetOptions(JanitorOptionsOfConfig());
  retention_micros = absl::ToInt64Microseconds(config.retention);
  SetLogFormat(config.log_format);
  metrics.config.Taken(static_cast<int64_t>(changes.waiting.size()));
  Log(changes.waiting.empty() ? LogLevel::kInfo : LogLevel::kWarning,
      "config_reloaded",
      {{"applied", absl::StrJoin(changes.applied, ",")},
       {"waiting_for_restart", absl::StrJoin(changes.waiting, ",")}});
}

void App::Parts::StartJanitor() {
  janitor = std::make_unique<Janitor>(
      JanitorStores{*jobs, *artifacts, *uploads, *logs}, metrics,
      Clock::System(), JanitorOptionsOfConfig());
  janitor->Start();
}

void App::Parts::Drain() {
  if (drained) return;
  drained = true;
  StartWatchdog(config.drain_timeout + kWatchdogGrace);
  data_dir.RemoveEndpoint();
  if (streams) {
    streams->BeginDrain();
    streams->DrainAll();
  }
  janitor.reset();
  if (workers) workers->Drain();
  if (api) api->Shutdown(kCallGraceMicros);
  http.reset();
  if (io) io->Stop();
  if (compute) compute->Stop();
  if (jobs) jobs->Stop();
}

App::App(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

App::~App() { parts_->Drain(); }

absl::StatusOr<std::unique_ptr<App>> App::Start(const ServerConfig& config) {
  QUANT_ASSIGN_OR_RETURN(DataDir data, DataDir::Open(config.data_dir));
  std::unique_ptr<App> app(
      new App(std::make_unique<Parts>(config, std::move(data))));
  Parts& parts = *app->parts_;
  QUANT_RETURN_IF_ERROR(parts.LoadAuthFile());
  QUANT_RETURN_IF_ERROR(parts.OpenStores());
  QUANT_RETURN_IF_ERROR(parts.StartPlanner());
  QUANT_RETURN_IF_ERROR(parts.StartServing());
  parts.StartWorkers();
  parts.StartJanitor();
  QUANT_RETURN_IF_ERROR(
      parts.data_dir.WriteEndpoint(parts.grpc_address, parts.http_address));
  return app;
}

const std::string& App::grpc_address() const { return parts_->grpc_address; }

const std::string& App::http_address() const { return parts_->http_address; }

void App::Reload(const absl::StatusOr<ServerConfig>& next) {
  parts_->Reload(next);
}

void App::Drain() { parts_->Drain(); }

}  // namespace quant

#include "server/worker/worker_pool.h"

#include <chrono>
#include <future>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/recipe/rpc_status.h"
#include "core/recipe/schedule.h"
#include "server/telemetry/log.h"
#include "server/worker/outcome.h"

namespace quant {
namespace {

// Waits for an asynchronous call of the store.
template <typename Start>
absl::StatusOr<JobRecord> Await(const Start& start) {
  std::promise<absl::StatusOr<JobRecord>> promise;
  auto future = promise.get_future();
  start([&](absl::StatusOr<JobRecord> answer) {
    promise.set_value(std::move(answer));
  });
  return future.get();
}

// In a job's work directory: the AttemptResult of work that is finished.
constexpr char kResultName[] = "result";
constexpr int64_t kMaxResultBytes = 64 << 20;

absl::Status TimeoutError(const v1::JobSpec& spec) {
  return MakeError(
      absl::StatusCode::kDeadlineExceeded, Reason::kJobTimeout,
      absl::StrCat("the attempt took longer than the job's timeout of ",
                   static_cast<double>(ToMicros(spec.timeout())) * 1e-6,
                   " s; a retry goes on with the work that is done"));
}

// Of a serialized JobSpec: that of all outputs, or "several"; "none" where
// codes are kept.
std::string MethodOf(const std::string& bytes) {
  v1::JobSpec spec;
  spec.ParseFromString(bytes);
  std::set<std::string> methods;
  for (const v1::Output& output : spec.outputs()) {
    methods.insert(output.recipe().method());
  }
  if (methods.size() > 1) return "several";
  return methods.empty() || methods.begin()->empty() ? "none"
                                                     : *methods.begin();
}

double SecondsSince(int64_t micros) {
  return static_cast<double>(Clock::System().NowMicros() - micros) * 1e-6;
}

}  // namespace

WorkerPool::WorkerPool(const WorkerStores& stores, Metrics& metrics,
                       SourceFinder find_source, WorkerOptions options)
    : jobs_(stores.jobs),
      artifacts_(stores.artifacts),
      logs_(stores.logs),
      metrics_(metrics),
      find_source_(std::move(find_source)),
      options_(std::move(options)),
      memory_(options_.memory_limit_bytes) {
  metrics_.workers.SetCapacity(options_.slots);
  UpdateSlots(0);
  jobs_.SetClaimableListener([this] {
    {
      std::lock_guard lock(mutex_);
      ++claimable_;
    }
    wake_.notify_all();
  });
  for (int i = 0; i < options_.slots; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    Slot& slot = *slots_.back();
    slot.thread = std::thread([this, &slot] { Work(slot); });
  }
  maintenance_ = std::thread([this] { Maintain(); });
}

WorkerPool::~WorkerPool() { Drain(); }

void WorkerPool::Drain() {
  {
    std::lock_guard lock(mutex_);
    draining_ = true;
  }
  wake_.notify_all();
  for (auto& slot : slots_) slot->waker.Wake();
  for (auto& slot : slots_) {
    if (slot->thread.joinable()) slot->thread.join();
  }
  if (maintenance_.joinable()) maintenance_.join();
  jobs_.SetClaimableListener(nullptr);
}

void WorkerPool::UpdateSlots(int busy_change) {
  const int busy = busy_ += busy_change;
  const int idle = options_.slots - busy;
  metrics_.workers.SetSlots(draining_ ? 0 : idle, draining_ ? 0 : busy,
                            draining_ ? busy : 0);
}

absl::StatusOr<JobRecord> WorkerPool::Claim() {
  return Await(
      [&](JobCallback done) { jobs_.Claim(options_.owner, std::move(done)); });
}

void WorkerPool::Work(Slot& slot) {
  while (!draining_) {
    uint64_t seen;
    {
      std::lock_guard lock(mutex_);
      seen = claimable_;
    }
    const absl::StatusOr<JobRecord> job = Claim();
    if (job.ok()) {
      UpdateSlots(+1);
      RunJob(slot, *job);
      UpdateSlots(-1);
      continue;
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::microseconds(options_.poll_micros),
                   [&] { return draining_ || claimable_ != seen; });
  }
}

void WorkerPool::Maintain() {
  std::unique_lock lock(mutex_);
  while (!draining_) {
    wake_.wait_for(lock, std::chrono::microseconds(options_.poll_micros),
                   [&] { return draining_.load(); });
    if (draining_) return;
    lock.unlock();
    const absl::StatusOr<int64_t> expired = jobs_.ExpireLeases();
    if (expired.ok() && *expired > 0) {
      metrics_.queue.LeasesExpired(*expired);
      Log(LogLevel::kWarning, "leases_expired", {{"jobs", *expired}});
    }
    lock.lock();
  }
}

void WorkerPool::RunJob(Slot& slot, const JobRecord& job) {
  metrics_.queue.Waited(SecondsSince(std::max(job.create_time, job.run_after)));
  JobLogs::Writer log(logs_, {.job_id = job.id,
                              .create_time = job.create_time,
                              .principal = job.owner.principal,
                              .trace_id = TraceIdOf(job),
                              .attempt = job.attempt});
  const Claimed claimed = {.job = job, .log = log};
  log.Write(LogLevel::kInfo, "attempt_started");
  const int64_t started = Clock::System().NowMicros();
  v1::JobSpec spec;
  const absl::StatusOr<AttemptEnd> end = RunAttempt(slot, claimed, spec);
  if (end.ok() && end->lease_lost) {
    metrics_.queue.LeaseLost();
    log.Write(LogLevel::kWarning, "lease_lost");
    return;
  }
  Finish(claimed,
         end.ok() ? Settle(job, spec, *end)
                  : Fail(job, end.status(), /*journal_advanced=*/false),
         SecondsSince(started));
}

absl::StatusOr<AttemptEnd> WorkerPool::RunAttempt(Slot& slot,
                                                  const Claimed& claimed,
                                                  v1::JobSpec& spec) {
  const JobRecord& job = claimed.job;
  if (!spec.ParseFromString(job.spec)) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kInternal,
                     "the stored spec can't be read");
  }
  worker::v1::AttemptRequest request;
  request.set_job(job.id);
  *request.mutable_spec() = spec;
  QUANT_ASSIGN_OR_RETURN(*request.mutable_work_dir(),
                         artifacts_.WorkDirectory(job.id));
  // Before the source is looked for: finished work needs none.
  auto result = FinishedBefore(request.work_dir());
  if (result && result->outputs_size() == spec.outputs_size()) {
    AttemptEnd end;
    end.result = *std::move(result);
    return end;
  }
  QUANT_ASSIGN_OR_RETURN(*request.mutable_source_path(),
                         find_source_(spec.source()));
  if (spec.has_imatrix()) {
    QUANT_ASSIGN_OR_RETURN(*request.mutable_imatrix_path(),
                           find_source_(spec.imatrix()));
  }
  if (spec.has_calibration()) {
    QUANT_ASSIGN_OR_RETURN(*request.mutable_calibration_path(),
                           find_source_(spec.calibration().source()));
  }
  if (spec.has_evaluation()) {
    QUANT_ASSIGN_OR_RETURN(*request.mutable_evaluation_path(),
                           find_source_(spec.evaluation().source()));
  }
  request.set_threads(options_.threads_per_job);
  request.set_no_fsync(!options_.sync);
  request.set_traceparent(job.traceparent);
  QUANT_ASSIGN_OR_RETURN(ChildProcess child,
                         ChildProcess::Start(options_.executable));
  const AttemptHost host = {.jobs = jobs_,
                            .memory = memory_,
                            .timing = options_.timing,
                            .waker = slot.waker,
                            .draining = draining_,
                            .log = claimed.log};
  AttemptEnd end = RunInChild(host, job, request, std::move(child));
  if (end.unconfined) ReportSandbox(claimed, *end.unconfined);
  if (end.result && !end.lease_lost) {
    QUANT_RETURN_IF_ERROR(
        WriteFileAtomically(JoinPath(request.work_dir(), kResultName),
                            end.result->SerializeAsString(), options_.sync));
  }
  return end;
}

void WorkerPool::ReportSandbox(const Claimed& claimed,
                               const std::string& missing) {
  metrics_.workers.SetConfined(missing.empty());
  if (missing.empty()) return;
  claimed.log.Write(LogLevel::kWarning, "sandbox_incomplete",
                    {{"msg", missing}});
}

std::optional<worker::v1::AttemptResult> WorkerPool::FinishedBefore(
    const std::string& work_dir) {
  const auto bytes = ReadFile(JoinPath(work_dir, kResultName), kMaxResultBytes);
  worker::v1::AttemptResult result;
  if (!bytes.ok() || !result.ParseFromString(*bytes)) return std::nullopt;
  return result;
}

FinishRequest WorkerPool::Settle(const JobRecord& job, const v1::JobSpec& spec,
                                 const AttemptEnd& end) {
  if (end.result) return Succeed(job, spec, end);
  FinishRequest request{.id = job.id,
                        .lease_token = job.lease_token,
                        .journal_advanced = end.journal_advanced};
  if (end.cancel_requested) {
    request.outcome = Outcome::kCancelled;
    return request;
  }
  if (end.timed_out) {
    return Fail(job, TimeoutError(spec), end.journal_advanced);
  }
  // Service managers send SIGTERM to children too, maybe before this process
  // has seen its own: a stop that nobody here asked for is part of a drain.
  const bool stopped_from_outside =
      end.error && absl::IsCancelled(FromRpcStatus(*end.error));
  if (end.drained || stopped_from_outside) {
    request.outcome = Outcome::kDrained;
    return request;
  }
  if (end.error) {
    return Fail(job, FromRpcStatus(*end.error), end.journal_advanced);
  }
  request.outcome = Outcome::kCrashed;
  const absl::Status crash = MakeError(
      absl::StatusCode::kUnavailable, Reason::kWorkerCrashed,
      absl::StrCat("the worker process gave no result: it ",
                   absl::StartsWith(end.exit_text, "killed") ? "was " : "",
                   end.exit_text));
  request.reason = std::string(ReasonName(Reason::kWorkerCrashed));
  request.error = ToRpcStatus(crash).SerializeAsString();
  return request;
}

FinishRequest WorkerPool::Fail(const JobRecord& job, const absl::Status& status,
                               bool journal_advanced) {
  return {.id = job.id,
          .lease_token = job.lease_token,
          .outcome = IsRetryable(status) ? Outcome::kRetryableFailure
                                         : Outcome::kPermanentFailure,
          .reason = std::string(ReasonName(GetReason(status))),
          .error = ToRpcStatus(status).SerializeAsString(),
          .journal_advanced = journal_advanced};
}

FinishRequest WorkerPool::Succeed(const JobRecord& job, const v1::JobSpec& spec,
                                  const AttemptEnd& end) {
  const worker::v1::AttemptResult& result = *end.result;
  const absl::Status gates = GateError(result);
  FinishRequest request{
      .id = job.id,
      .lease_token = job.lease_token,
      .outcome = gates.ok() ? Outcome::kSucceeded : Outcome::kGateFailed,
      .result = result.SerializeAsString(),
      .journal_advanced = end.journal_advanced};
  if (!gates.ok()) {
    request.reason = std::string(ReasonName(Reason::kGateFailed));
    request.error = ToRpcStatus(gates).SerializeAsString();
  }
  for (const v1::GateResult& verdict : result.gates()) {
    request.gates.push_back(verdict.SerializeAsString());
  }
  for (const worker::v1::OutputResult& output : result.outputs()) {
    const absl::StatusOr<ArtifactRecord> artifact =
        artifacts_.Publish(ToPublishRequest(job, output, !gates.ok()));
    if (!artifact.ok()) {
      return Fail(job, artifact.status(), end.journal_advanced);
    }
    request.artifacts.push_back(artifact->id);
  }
  Count(result);
  return request;
}

void WorkerPool::Count(const worker::v1::AttemptResult& result) {
  for (const auto& [stage, seconds] : result.stage_seconds()) {
    metrics_.jobs.Stage(stage, seconds);
  }
  const auto metric = [&](const char* name) {
    const auto it = result.metrics().find(name);
    return it == result.metrics().end() ? 0 : static_cast<int64_t>(it->second);
  };
  metrics_.jobs.Memory(result.peak_rss_bytes(), result.memory_bound_bytes());
  metrics_.jobs.TensorsRedone(metric("tensors_redone"));
  metrics_.jobs.TensorsResumed(metric("tensors_resumed"));
}

void WorkerPool::Finish(const Claimed& claimed, FinishRequest request,
                        double seconds) {
  JobLogs::Writer& log = claimed.log;
  const Outcome outcome = request.outcome;
  const std::string reason = request.reason;
  google::rpc::Status error;
  error.ParseFromString(request.error);
  const absl::StatusOr<JobRecord> after = Await([&](JobCallback done) {
    jobs_.Finish(std::move(request), std::move(done));
  });
  metrics_.jobs.AttemptEnded(OutcomeName(outcome), reason, seconds);
  if (!after.ok()) {
    if (GetReason(after.status()) == Reason::kLeaseLost) {
      metrics_.queue.LeaseLost();
    }
    log.Write(
        LogLevel::kWarning, "finish_refused",
        {{"outcome", OutcomeName(outcome)}, {"msg", after.status().message()}});
    return;
  }
  log.Write(LogLevel::kInfo, "attempt_ended",
            {{"outcome", OutcomeName(outcome)},
             {"state", JobStateName(after->state)},
             {"reason", reason},
             {"seconds", seconds},
             {"msg", error.message()}});
  if (!IsTerminal(after->state)) return;
  metrics_.jobs.Completed(MethodOf(after->spec), JobStateName(after->state),
                          after->state_reason, after->attempt,
                          SecondsSince(after->create_time));
  CleanUp(*after, outcome, log);
}

void WorkerPool::CleanUp(const JobRecord& after, Outcome outcome,
                         JobLogs::Writer& log) {
  // What a later RetryJob could use is kept; the sweeper knows it by its job.
  if (outcome == Outcome::kRetryableFailure || outcome == Outcome::kCrashed ||
      after.state_reason == ReasonName(Reason::kJobTimeout)) {
    return;
  }
  const absl::Status status = artifacts_.RemoveWorkDirectory(after.id);
  if (status.ok()) return;
  log.Write(LogLevel::kWarning, "work_directory_stays",
            {{"msg", status.message()}});
}

}  // namespace quant

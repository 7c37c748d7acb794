#include "server/maintenance/janitor.h"

#include <chrono>
#include <future>
#include <utility>

#include "absl/strings/strip.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/recipe/sources.h"
#include "server/telemetry/log.h"

namespace quant {
namespace {

constexpr int kPage = 100;
constexpr int kMostArtifacts = 1000;  // of one job; it has 16 outputs at most

void Complain(const char* event, const absl::Status& status) {
  Log(LogLevel::kWarning, event, {{"msg", status.message()}});
}

}  // namespace

Janitor::Janitor(const JanitorStores& stores, Metrics& metrics,
                 const Clock& clock, const JanitorOptions& options)
    : jobs_(stores.jobs),
      artifacts_(stores.artifacts),
      uploads_(stores.uploads),
      logs_(stores.logs),
      metrics_(metrics),
      clock_(clock),
      options_(options) {}

void Janitor::Start() {
  thread_ = std::jthread([this](std::stop_token stop) { Run(stop); });
}

void Janitor::Run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    Sweep();
    const std::chrono::microseconds interval(Options().interval_micros);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, interval,
                   [] { return false; });
  }
}

JanitorOptions Janitor::Options() {
  std::lock_guard lock(mutex_);
  return options_;
}

void Janitor::SetOptions(const JanitorOptions& options) {
  std::lock_guard lock(mutex_);
  options_ = options;
}

void Janitor::Sweep() {
  SweepJobs();
  SweepUploads();
  if (!logs_swept_) SweepLogs();
}

void Janitor::SweepJobs() {
  // What can't be removed now holds up nothing, and comes again with the next
  // round.
  ExpiredQuery query = {.retention = Options().retention_micros,
                        .limit = kPage};
  absl::StatusOr<std::vector<JobRecord>> page;
  JobRecord last;
  do {
    page = jobs_.Expired(query);
    if (!page.ok()) return Complain("retention_failed", page.status());
    for (const JobRecord& job : *page) {
      const absl::Status status = RemoveJob(job);
      if (!status.ok()) Complain("retention_failed", status);
    }
    if (!page->empty()) last = std::move(page->back());
    query.after = &last;
  } while (page->size() == kPage);
}

absl::Status Janitor::RemoveJob(const JobRecord& job) {
  // A retry, since the list was made, keeps all of it.
  QUANT_ASSIGN_OR_RETURN(const JobRecord now, jobs_.Get(job.id));
  if (Etag(now) != Etag(job)) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(
      const std::vector<ArtifactRecord> artifacts,
      artifacts_.List({.job_id = job.id, .limit = kMostArtifacts}));
  for (const ArtifactRecord& artifact : artifacts) {
    const absl::Status deleted = artifacts_.Delete(artifact.id);
    if (!deleted.ok() && !absl::IsNotFound(deleted)) return deleted;
  }
  QUANT_RETURN_IF_ERROR(artifacts_.RemoveWorkDirectory(job.id));
  std::promise<absl::Status> answer;
  jobs_.Delete(job.id, Etag(job), [&](absl::StatusOr<JobRecord> deleted) {
    answer.set_value(deleted.status());
  });
  QUANT_RETURN_IF_ERROR(answer.get_future().get());
  // What stays of it goes after the next start.
  logs_.Remove(job.id).IgnoreError();
  metrics_.storage.Swept("job", 1);
  metrics_.storage.Swept("artifact", static_cast<int64_t>(artifacts.size()));
  Log(LogLevel::kInfo, "job_expired",
      {{"job", job.id}, {"artifacts", artifacts.size()}});
  return absl::OkStatus();
}

void Janitor::SweepLogs() {
  const absl::StatusOr<std::vector<std::string>> ids = logs_.Ids();
  if (!ids.ok()) return Complain("log_sweep_failed", ids.status());
  logs_swept_ = true;
  for (const std::string& id : *ids) {
    if (!absl::IsNotFound(jobs_.Get(id).status())) continue;
    const absl::Status removed = logs_.Remove(id);
    if (!removed.ok()) Complain("log_sweep_failed", removed);
  }
}

absl::StatusOr<std::vector<std::string>> Janitor::UploadsInUse() {
  std::vector<std::string> ids;
  ListQuery query = {
      .limit = 1000,
      .states = {JobState::kQueued, JobState::kRunning, JobState::kCancelling}};
  for (;;) {
    QUANT_ASSIGN_OR_RETURN(const std::vector<JobRecord> page,
                           jobs_.List(query));
    for (const JobRecord& job : page) {
      v1::JobSpec spec;
      spec.ParseFromString(job.spec);
      for (const v1::Source* source : SourcesIn(spec)) {
        absl::string_view id = source->upload();
        if (absl::ConsumePrefix(&id, "uploads/")) ids.emplace_back(id);
      }
    }
    if (page.size() < static_cast<size_t>(query.limit)) return ids;
    query.before_id = page.back().id;
  }
}

void Janitor::SweepUploads() {
  UploadStore::SweepRequest request;
  const int64_t ttl = Options().upload_ttl_micros;
  if (ttl != 0) request.unused_since = clock_.NowMicros() - ttl;
  absl::StatusOr<std::vector<std::string>> in_use = UploadsInUse();
  if (!in_use.ok()) return Complain("upload_sweep_failed", in_use.status());
  request.keep.insert(in_use->begin(), in_use->end());
  const auto swept = uploads_.Sweep(request);
  if (!swept.ok()) return Complain("upload_sweep_failed", swept.status());
  metrics_.storage.Swept("upload", swept->uploads);
  if (swept->uploads == 0 && swept->bytes == 0) return;
  Log(LogLevel::kInfo, "uploads_swept",
      {{"uploads", swept->uploads}, {"bytes", swept->bytes}});
}

}  // namespace quant

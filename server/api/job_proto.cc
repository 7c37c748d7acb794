#include "server/api/job_proto.h"

#include "google/rpc/status.pb.h"
#include "quant/worker/v1/attempt.pb.h"
#include "server/api/names.h"

namespace quant {
namespace {

void SetTimes(const JobRecord& record, v1::Job& job) {
  if (record.create_time != 0) {
    *job.mutable_create_time() = ToTimestamp(record.create_time);
  }
  if (record.start_time != 0) {
    *job.mutable_start_time() = ToTimestamp(record.start_time);
  }
  if (record.end_time != 0) {
    *job.mutable_end_time() = ToTimestamp(record.end_time);
  }
  if (record.update_time != 0) {
    *job.mutable_update_time() = ToTimestamp(record.update_time);
  }
}

void SetResult(const JobRecord& record, v1::Job& job) {
  worker::v1::AttemptResult result;
  if (!record.result.empty() && result.ParseFromString(record.result)) {
    *job.mutable_metrics() = std::move(*result.mutable_metrics());
    *job.mutable_gates() = std::move(*result.mutable_gates());
    *job.mutable_escalation() = std::move(*result.mutable_escalation());
  }
  for (const std::string& id : record.artifacts) {
    job.add_artifacts(ArtifactName(id));
  }
  google::rpc::Status error;
  if (!record.error.empty() && error.ParseFromString(record.error)) {
    *job.mutable_error() = std::move(error);
  }
}

}  // namespace

google::protobuf::Timestamp ToTimestamp(int64_t micros) {
  google::protobuf::Timestamp out;
  out.set_seconds(micros / 1'000'000);
  out.set_nanos(static_cast<int32_t>(micros % 1'000'000) * 1000);
  return out;
}

std::optional<v1::QueueInfo> QueueInfoOf(JobStore& jobs,
                                         const std::string& id) {
  const absl::StatusOr<QueuePlace> place = jobs.Place(id);
  if (!place.ok()) return std::nullopt;
  v1::QueueInfo out;
  out.set_position(place->position);
  if (place->estimated_start != 0) {
    *out.mutable_estimated_start_time() = ToTimestamp(place->estimated_start);
  }
  out.set_paused(jobs.Control().mode != QueueMode::kOpen);
  return out;
}

v1::Job JobToProto(const JobRecord& record) {
  v1::Job job;
  const bool stored = !record.id.empty();
  if (stored) job.set_name(JobName(record.id));
  if (stored) job.set_log(JobLogName(record.id));
  job.set_trace_id(TraceIdOf(record));
  job.set_tenant(record.owner.tenant);
  job.set_created_by(record.owner.principal);
  job.set_uid(record.id);
  job.mutable_spec()->ParseFromString(record.spec);
  job.set_state(static_cast<v1::Job::State>(record.state));
  job.set_state_reason(record.state_reason);
  job.set_attempt(record.attempt);
  job.set_max_attempts(record.max_attempts);
  if (!record.progress.empty()) {
    job.mutable_progress()->ParseFromString(record.progress);
  }
  SetResult(record, job);
  for (const auto& [key, value] : record.labels) {
    (*job.mutable_labels())[key] = value;
  }
  if (!stored) return job;
  job.set_event_sequence(record.event_sequence);
  job.set_etag(Etag(record));
  SetTimes(record, job);
  return job;
}

v1::WatchJobResponse EventToProto(const JobEvent& event) {
  v1::WatchJobResponse out;
  out.set_kind(static_cast<v1::WatchJobResponse::Kind>(event.kind));
  out.set_sequence(event.sequence);
  *out.mutable_time() = ToTimestamp(event.time);
  switch (event.kind) {
    case EventKind::kAttempt:
      out.set_attempt(event.attempt);
      [[fallthrough]];
    case EventKind::kState:
      out.set_state(static_cast<v1::Job::State>(event.state));
      out.set_state_reason(event.state_reason);
      break;
    case EventKind::kGate:
      out.mutable_gate()->ParseFromString(event.payload);
      break;
    case EventKind::kArtifact:
      out.set_artifact(ArtifactName(event.payload));
      break;
  }
  return out;
}

v1::Artifact ArtifactToProto(const ArtifactRecord& record) {
  v1::Artifact out;
  out.set_name(ArtifactName(record.id));
  out.set_job(JobName(record.job_id));
  out.set_output(record.output);
  int64_t total = 0;
  for (const StoredFile& file : record.files) {
    v1::ArtifactFile& to = *out.add_files();
    to.set_path(file.path);
    to.set_size_bytes(file.size_bytes);
    to.set_sha256(file.sha256);
    to.set_resource_name(FileResourceName(record.id, file.path));
    total += file.size_bytes;
  }
  out.set_size_bytes(total);
  *out.mutable_create_time() = ToTimestamp(record.create_time);
  out.set_gate_failed(record.gate_failed);
  return out;
}

v1::Upload UploadToProto(const UploadRecord& record) {
  v1::Upload out;
  out.set_name(UploadName(record.id));
  auto fill = [&record](const StoredFile& file, v1::UploadFile& to) {
    to.set_path(file.path);
    to.set_size_bytes(file.size_bytes);
    to.set_sha256(file.sha256);
    to.set_resource_name(BlobResourceName(record.id, file.sha256));
  };
  for (const StoredFile& file : record.files) fill(file, *out.add_files());
  for (const StoredFile& file : record.missing) fill(file, *out.add_missing());
  out.set_complete(record.complete());
  *out.mutable_create_time() = ToTimestamp(record.create_time);
  return out;
}

}  // namespace quant

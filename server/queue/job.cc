#include "server/queue/job.h"

#include "absl/strings/str_cat.h"
#include "core/base/trace_context.h"
#include "server/queue/job_store.h"

namespace quant {

const char* JobStateName(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kCancelling:
      return "CANCELLING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
  }
  return "STATE_UNSPECIFIED";
}

std::string Etag(const JobRecord& record) {
  return absl::StrCat("\"", record.event_sequence, "\"");
}

std::string TraceIdOf(const JobRecord& job) {
  const absl::StatusOr<TraceContext> trace = ParseTraceparent(job.traceparent);
  return trace.ok() ? trace->trace_id : "";
}

}  // namespace quant

#include "server/worker/outcome.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

FileStamp StampOfResult(const worker::v1::FileResult& file) {
  return {.device = file.stamp().device(),
          .inode = file.stamp().inode(),
          .size_bytes = file.size_bytes(),
          .mtime_ns = file.stamp().mtime_ns(),
          .ctime_ns = file.stamp().ctime_ns()};
}

}  // namespace

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSucceeded:
      return "succeeded";
    case Outcome::kPermanentFailure:
      return "failed";
    case Outcome::kRetryableFailure:
      return "failed_retryable";
    case Outcome::kCrashed:
      return "crashed";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kDrained:
      return "drained";
    case Outcome::kGateFailed:
      return "gate_failed";
  }
  return "unknown";
}

absl::Status GateError(const worker::v1::AttemptResult& result) {
  std::vector<std::string> failed;
  for (const v1::GateResult& verdict : result.gates()) {
    if (verdict.passed()) continue;
    failed.push_back(absl::StrCat(GateToString(verdict.gate()), ": ",
                                  verdict.output(), " has ", verdict.value()));
  }
  if (failed.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kGateFailed,
                   absl::StrCat("gates failed: ", absl::StrJoin(failed, "; ")));
}

PublishRequest ToPublishRequest(const JobRecord& job,
                                const worker::v1::OutputResult& output,
                                bool gate_failed) {
  PublishRequest request{.job_id = job.id,
                         .output = output.name(),
                         .directory = output.directory(),
                         .files = {},
                         .gate_failed = gate_failed,
                         .hashed = {},
                         .tenant = job.owner.tenant};
  for (const worker::v1::FileResult& file : output.files()) {
    request.files.push_back({file.path(), file.size_bytes(), file.sha256()});
    if (file.has_stamp()) request.hashed[file.path()] = StampOfResult(file);
  }
  return request;
}

}  // namespace quant

#include "client/cli/exit_code.h"

#include <optional>

#include "client/library/errors.h"
#include "core/base/error.h"

namespace quant::cli {
namespace {

// Reasons that mean the same wherever they come from.
std::optional<ExitCode> ExitCodeOfReason(Reason reason) {
  switch (reason) {
    case Reason::kPlanRefused:
    case Reason::kModelMalformed:
    case Reason::kUnsafeFormat:
    case Reason::kNonfiniteWeights:
    case Reason::kSourceChanged:
      return kExitJobFailed;
    case Reason::kSourceNotAllowed:
      return kExitNotAllowed;
    case Reason::kSourceMissing:
    case Reason::kJobNotFound:
    case Reason::kArtifactNotFound:
    case Reason::kUploadNotFound:
    case Reason::kBlobNotFound:
      return kExitNotFound;
    case Reason::kCancelled:
      return kExitCancelled;
    case Reason::kDigestMismatch:
      return kExitDigestMismatch;
    case Reason::kGateFailed:
      return kExitGateFailed;
    case Reason::kPoison:
    case Reason::kWorkerCrashed:
    case Reason::kAttemptsExhausted:
    case Reason::kLeaseLost:
    case Reason::kWorkDirLocked:
      return kExitInfrastructure;
    case Reason::kOutputExists:
      return kExitUsage;
    default:
      return std::nullopt;
  }
}

}  // namespace

ExitCode ExitCodeOfStatus(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  if (absl::IsUnavailable(status)) return kExitUnavailable;
  if (auto code = ExitCodeOfReason(GetReason(status))) return *code;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitNotAllowed;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kResourceExhausted:
      return kExitQuota;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitUnavailable;
    default:
      return kExitOther;
  }
}

ExitCode ExitCodeOfFailure(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  if (auto code = ExitCodeOfReason(GetReason(status))) return *code;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnimplemented:
      return kExitJobFailed;
    default:
      return kExitInfrastructure;
  }
}

ExitCode ExitCodeOfJob(const v1::Job& job) {
  switch (job.state()) {
    case v1::Job::SUCCEEDED:
      return kExitOk;
    case v1::Job::CANCELLED:
      return kExitCancelled;
    case v1::Job::FAILED:
      break;
    default:
      return kExitOther;
  }
  if (auto reason = ParseReason(job.state_reason())) {
    if (auto code = ExitCodeOfReason(*reason)) return *code;
  }
  const ExitCode code = ExitCodeOfFailure(StatusFromWire(job.error()));
  return code == kExitOk ? kExitOther : code;
}

}  // namespace quant::cli

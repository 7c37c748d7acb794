// Errors that users see: an absl::Status with a reason for machines, and the
// request field that is to blame where there is one.
//
// Message form: where: what was found; what is allowed; nearest match.
#ifndef QUANT_CORE_BASE_ERROR_H_
#define QUANT_CORE_BASE_ERROR_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quant {

// The one list of reasons. google.rpc.ErrorInfo.reason is the name without the
// "k", in UPPER_SNAKE_CASE (see ReasonName).
enum class Reason {
  kInternal,
  kInvalidSpec,
  kUnknownName,
  kUnsupported,
  kPlanRefused,
  kModelMalformed,
  kUnsafeFormat,
  kNonfiniteWeights,
  kSourceNotAllowed,
  kSourceMissing,
  kSourceChanged,
  kOutputExists,
  kWorkDirLocked,
  kDigestMismatch,
  kStorageFull,
  kStorageUnavailable,
  kQueueFull,
  kJobNotFound,
  kJobNotTerminal,
  kJobSucceeded,
  kArtifactNotFound,
  kUploadNotFound,
  kBlobNotFound,
  kBlobBusy,
  kRequestIdReused,
  kPageTokenInvalid,
  kSequenceInFuture,
  kEtagMismatch,
  kLeaseLost,
  kCancelled,
  kGateFailed,
  kPoison,
  kWorkerCrashed,
  kAttemptsExhausted,
  kServerDraining,
  kSlowConsumer,
  kStreamRecycled,
  kOffsetInvalid,
  kUnimplemented,
  // About who asks, not about what is asked.
  kUnauthenticated,   // no credentials, or unknown ones
  kPermissionDenied,  // known, but its role does not include this
  kQuotaExceeded,     // a limit on what a caller may have at a time
  kRateLimited,       // a limit on what a caller may do per second
  kJobTimeout,        // a job ran for longer than it may
};

// "INVALID_SPEC", ...
absl::string_view ReasonName(Reason reason);
std::optional<Reason> ParseReason(absl::string_view name);

// A status with a reason. `field`, when not empty, is the path of the request
// field to blame ("spec.outputs[0].recipe.scheme").
absl::Status MakeError(absl::StatusCode code, Reason reason,
                       absl::string_view message, absl::string_view field = {});

// Shorthands for the most frequent codes.
absl::Status InvalidSpec(absl::string_view message,
                         absl::string_view field = {});
absl::Status ModelMalformed(absl::string_view message);  // DATA_LOSS

// The reason of an error; kInternal when none was attached, or a reason that
// follows from the code (kCancelled, kStorageFull...).
Reason GetReason(const absl::Status& status);

// The field of an error, or empty.
std::string GetField(const absl::Status& status);

// The same error with `prefix` put before its message, and, when it names a
// field, `field_prefix` before the field.
absl::Status Annotate(const absl::Status& status, absl::string_view prefix,
                      absl::string_view field_prefix = {});

// An errno as a status: ENOENT NOT_FOUND, ENOSPC and EDQUOT RESOURCE_EXHAUSTED
// STORAGE_FULL, EACCES PERMISSION_DENIED, EIO UNAVAILABLE STORAGE_UNAVAILABLE.
absl::Status ErrnoError(int error_number, absl::string_view what);

}  // namespace quant

#endif  // QUANT_CORE_BASE_ERROR_H_

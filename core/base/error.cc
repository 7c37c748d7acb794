#include "core/base/error.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace quant {
namespace {

constexpr absl::string_view kReasonUrl = "quant.v1/reason";
constexpr absl::string_view kFieldUrl = "quant.v1/field";

struct Row {
  Reason reason;
  absl::string_view name;
};

constexpr Row kReasons[] = {
    {Reason::kInternal, "INTERNAL"},
    {Reason::kInvalidSpec, "INVALID_SPEC"},
    {Reason::kUnknownName, "UNKNOWN_NAME"},
    {Reason::kUnsupported, "UNSUPPORTED"},
    {Reason::kPlanRefused, "PLAN_REFUSED"},
    {Reason::kModelMalformed, "MODEL_MALFORMED"},
    {Reason::kUnsafeFormat, "UNSAFE_FORMAT"},
    {Reason::kNonfiniteWeights, "NONFINITE_WEIGHTS"},
    {Reason::kSourceNotAllowed, "SOURCE_NOT_ALLOWED"},
    {Reason::kSourceMissing, "SOURCE_MISSING"},
    {Reason::kSourceChanged, "SOURCE_CHANGED"},
    {Reason::kOutputExists, "OUTPUT_EXISTS"},
    {Reason::kWorkDirLocked, "WORK_DIR_LOCKED"},
    {Reason::kDigestMismatch, "DIGEST_MISMATCH"},
    {Reason::kStorageFull, "STORAGE_FULL"},
    {Reason::kStorageUnavailable, "STORAGE_UNAVAILABLE"},
    {Reason::kQueueFull, "QUEUE_FULL"},
    {Reason::kJobNotFound, "JOB_NOT_FOUND"},
    {Reason::kJobNotTerminal, "JOB_NOT_TERMINAL"},
    {Reason::kJobSucceeded, "JOB_SUCCEEDED"},
    {Reason::kArtifactNotFound, "ARTIFACT_NOT_FOUND"},
    {Reason::kUploadNotFound, "UPLOAD_NOT_FOUND"},
    {Reason::kBlobNotFound, "BLOB_NOT_FOUND"},
    {Reason::kBlobBusy, "BLOB_BUSY"},
    {Reason::kRequestIdReused, "REQUEST_ID_REUSED"},
    {Reason::kPageTokenInvalid, "PAGE_TOKEN_INVALID"},
    {Reason::kSequenceInFuture, "SEQUENCE_IN_FUTURE"},
    {Reason::kEtagMismatch, "ETAG_MISMATCH"},
    {Reason::kLeaseLost, "LEASE_LOST"},
    {Reason::kCancelled, "CANCELLED"},
    {Reason::kGateFailed, "GATE_FAILED"},
    {Reason::kPoison, "POISON"},
    {Reason::kWorkerCrashed, "WORKER_CRASHED"},
    {Reason::kAttemptsExhausted, "ATTEMPTS_EXHAUSTED"},
    {Reason::kServerDraining, "SERVER_DRAINING"},
    {Reason::kSlowConsumer, "SLOW_CONSUMER"},
    {Reason::kStreamRecycled, "STREAM_RECYCLED"},
    {Reason::kOffsetInvalid, "OFFSET_INVALID"},
    {Reason::kUnimplemented, "UNIMPLEMENTED"},
    {Reason::kUnauthenticated, "UNAUTHENTICATED"},
    {Reason::kPermissionDenied, "PERMISSION_DENIED"},
    {Reason::kQuotaExceeded, "QUOTA_EXCEEDED"},
    {Reason::kRateLimited, "RATE_LIMITED"},
    {Reason::kJobTimeout, "JOB_TIMEOUT"},
};

Reason ReasonOfCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kCancelled:
      return Reason::kCancelled;
    case absl::StatusCode::kInvalidArgument:
      return Reason::kInvalidSpec;
    case absl::StatusCode::kResourceExhausted:
      return Reason::kStorageFull;
    case absl::StatusCode::kUnavailable:
      return Reason::kStorageUnavailable;
    case absl::StatusCode::kDataLoss:
      return Reason::kModelMalformed;
    case absl::StatusCode::kUnimplemented:
      return Reason::kUnimplemented;
    default:
      return Reason::kInternal;
  }
}

absl::StatusCode CodeOfErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::StatusCode::kResourceExhausted;
    case EIO:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
      return absl::StatusCode::kUnavailable;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case EISDIR:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::string_view ReasonName(Reason reason) {
  for (const Row& row : kReasons) {
    if (row.reason == reason) return row.name;
  }
  return "INTERNAL";
}

std::optional<Reason> ParseReason(absl::string_view name) {
  for (const Row& row : kReasons) {
    if (row.name == name) return row.reason;
  }
  return std::nullopt;
}

absl::Status MakeError(absl::StatusCode code, Reason reason,
                       absl::string_view message, absl::string_view field) {
  absl::Status status(code, message);
  status.SetPayload(kReasonUrl, absl::Cord(ReasonName(reason)));
  if (!field.empty()) status.SetPayload(kFieldUrl, absl::Cord(field));
  return status;
}

absl::Status InvalidSpec(absl::string_view message, absl::string_view field) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
                   message, field);
}

absl::Status ModelMalformed(absl::string_view message) {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kModelMalformed,
                   message);
}

Reason GetReason(const absl::Status& status) {
  if (auto payload = status.GetPayload(kReasonUrl)) {
    if (auto reason = ParseReason(std::string(*payload))) return *reason;
  }
  return ReasonOfCode(status.code());
}

std::string GetField(const absl::Status& status) {
  auto payload = status.GetPayload(kFieldUrl);
  return payload ? std::string(*payload) : std::string();
}

absl::Status Annotate(const absl::Status& status, absl::string_view prefix,
                      absl::string_view field_prefix) {
  if (status.ok()) return status;
  absl::Status out(status.code(),
                   prefix.empty()
                       ? std::string(status.message())
                       : absl::StrCat(prefix, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    out.SetPayload(url, value);
  });
  if (std::string field = GetField(status);
      !field.empty() && !field_prefix.empty()) {
    out.SetPayload(kFieldUrl, absl::Cord(absl::StrCat(field_prefix, field)));
  }
  return out;
}

absl::Status ErrnoError(int error_number, absl::string_view what) {
  char buffer[128];
  const char* text = strerror_r(error_number, buffer, sizeof(buffer));
  absl::StatusCode code = CodeOfErrno(error_number);
  return MakeError(code, ReasonOfCode(code), absl::StrCat(what, ": ", text));
}

}  // namespace quant

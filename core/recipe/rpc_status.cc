#include "core/recipe/rpc_status.h"

#include "core/base/error.h"
#include "core/base/quota_subject.h"
#include "google/rpc/error_details.pb.h"

namespace quant {
namespace {

constexpr char kDomain[] = "quant.v1";
constexpr int kRetrySeconds = 2;
// A bucket of calls has one by then; a quota of jobs or streams takes one to
// end.
constexpr int kRateRetrySeconds = 1;
constexpr int kQuotaRetrySeconds = 10;

// 0: no word about it.
int RetrySeconds(const absl::Status& status, absl::string_view field) {
  const absl::StatusCode code = status.code();
  const Reason reason = GetReason(status);
  if (code == absl::StatusCode::kUnavailable) return kRetrySeconds;
  if (reason == Reason::kQueueFull) return kRetrySeconds;
  if (reason == Reason::kRateLimited) return kRateRetrySeconds;
  const bool ends = reason == Reason::kQuotaExceeded && !IsTenantSubject(field);
  return ends ? kQuotaRetrySeconds : 0;
}

bool IsQuota(Reason reason) {
  return reason == Reason::kQuotaExceeded || reason == Reason::kRateLimited;
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status out;
  out.set_code(static_cast<int>(status.code()));
  out.set_message(std::string(status.message()));
  if (status.ok()) return out;
  const Reason reason = GetReason(status);
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(ReasonName(reason)));
  info.set_domain(kDomain);
  out.add_details()->PackFrom(info);
  const std::string field = GetField(status);
  if (status.code() == absl::StatusCode::kInvalidArgument && !field.empty()) {
    google::rpc::BadRequest bad;
    auto& violation = *bad.add_field_violations();
    violation.set_field(field);
    violation.set_description(std::string(status.message()));
    out.add_details()->PackFrom(bad);
  }
  if (IsQuota(reason)) {
    google::rpc::QuotaFailure quota;
    auto& violation = *quota.add_violations();
    violation.set_subject(field);
    violation.set_description(std::string(status.message()));
    out.add_details()->PackFrom(quota);
  }
  if (const int seconds = RetrySeconds(status, field); seconds > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(seconds);
    out.add_details()->PackFrom(retry);
  }
  return out;
}

absl::Status FromRpcStatus(const google::rpc::Status& status) {
  if (status.code() == 0) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.code());
  Reason reason = Reason::kInternal;
  std::string field;
  bool named = false;
  for (const auto& detail : status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (detail.UnpackTo(&info)) {
      if (const auto parsed = ParseReason(info.reason())) {
        reason = *parsed;
        named = true;
      }
    } else if (detail.UnpackTo(&bad) && bad.field_violations_size() > 0) {
      field = bad.field_violations(0).field();
    }
  }
  if (!named) return absl::Status(code, status.message());
  return MakeError(code, reason, status.message(), field);
}

bool IsRetryable(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return true;
    case absl::StatusCode::kFailedPrecondition:
      return GetReason(status) == Reason::kWorkDirLocked ||
             GetReason(status) == Reason::kSourceChanged;
    default:
      return false;
  }
}

}  // namespace quant

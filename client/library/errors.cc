#include "client/library/errors.h"

#include <algorithm>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "google/rpc/error_details.pb.h"

namespace quant {
namespace {

constexpr absl::string_view kDelayUrl = "quant.v1/retry_delay_ms";
// A delay from outside: bounded, so that no server can park a client.
constexpr int64_t kMaxDelayMs = 10 * 60 * 1000;

struct Details {
  std::optional<Reason> reason;
  std::string field;
  std::optional<int64_t> delay_ms;
};

Details ReadDetails(const google::rpc::Status& wire) {
  Details details;
  for (const google::protobuf::Any& any : wire.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    google::rpc::RetryInfo retry;
    if (any.Is<google::rpc::ErrorInfo>() && any.UnpackTo(&info)) {
      details.reason = ParseReason(info.reason());
    } else if (any.Is<google::rpc::BadRequest>() && any.UnpackTo(&bad)) {
      if (bad.field_violations_size() > 0) {
        details.field = bad.field_violations(0).field();
      }
    } else if (any.Is<google::rpc::RetryInfo>() && any.UnpackTo(&retry)) {
      const auto& delay = retry.retry_delay();
      const int64_t seconds =
          std::clamp<int64_t>(delay.seconds(), 0, kMaxDelayMs / 1000);
      details.delay_ms = seconds * 1000 + delay.nanos() / 1'000'000;
    }
  }
  return details;
}

absl::Status Build(absl::StatusCode code, absl::string_view message,
                   const Details& details) {
  absl::Status status =
      details.reason ? MakeError(code, *details.reason, message, details.field)
                     : absl::Status(code, message);
  if (details.delay_ms) {
    status.SetPayload(kDelayUrl, absl::Cord(absl::StrCat(*details.delay_ms)));
  }
  return status;
}

}  // namespace

absl::Status StatusFromWire(const google::rpc::Status& wire) {
  if (wire.code() == 0) return absl::OkStatus();
  return Build(static_cast<absl::StatusCode>(wire.code()), wire.message(),
               ReadDetails(wire));
}

absl::Status StatusFromGrpc(const grpc::Status& status,
                            absl::string_view target) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  google::rpc::Status wire;
  if (!status.error_details().empty() &&
      wire.ParseFromString(status.error_details())) {
    return Build(code, status.error_message(), ReadDetails(wire));
  }
  return absl::Status(
      code, absl::StrCat("server ", target, ": ", status.error_message()));
}

std::optional<std::chrono::milliseconds> RetryDelay(
    const absl::Status& status) {
  auto payload = status.GetPayload(kDelayUrl);
  int64_t delay_ms = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &delay_ms)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(
      std::clamp<int64_t>(delay_ms, 0, kMaxDelayMs));
}

bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) ||
         (absl::IsResourceExhausted(status) && RetryDelay(status).has_value());
}

}  // namespace quant

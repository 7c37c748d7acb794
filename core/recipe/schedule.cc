#include "core/recipe/schedule.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr int64_t kDaySeconds = 24 * 3600;
constexpr int64_t kMaxTimeoutDays = 30;
constexpr int64_t kMaxRetentionDays = 3650;
constexpr int kNanosPerSecond = 1'000'000'000;

// One second to so many days.
absl::Status CheckDuration(const google::protobuf::Duration& duration,
                           int64_t most_days, const std::string& field) {
  const bool whole =
      duration.nanos() >= 0 && duration.nanos() < kNanosPerSecond;
  const int64_t most = most_days * kDaySeconds;
  const bool fits = duration.seconds() >= 1 &&
                    (duration.seconds() < most ||
                     (duration.seconds() == most && duration.nanos() == 0));
  if (whole && fits) return absl::OkStatus();
  return InvalidSpec(
      absl::StrCat(duration.seconds(), " s and ", duration.nanos(),
                   " ns; 1 s to ", most_days, " days are allowed"),
      field);
}

}  // namespace

absl::Status CheckSchedule(const v1::JobSpec& spec) {
  if (!v1::JobSpec::Priority_IsValid(spec.priority())) {
    return InvalidSpec(absl::StrCat("unknown value ", spec.priority(),
                                    "; expected a value of JobSpec.Priority"),
                       "priority");
  }
  if (spec.has_timeout()) {
    QUANT_RETURN_IF_ERROR(
        CheckDuration(spec.timeout(), kMaxTimeoutDays, "timeout"));
  }
  if (!spec.has_retention()) return absl::OkStatus();
  return CheckDuration(spec.retention(), kMaxRetentionDays, "retention");
}

v1::JobSpec::Priority PriorityOf(const v1::JobSpec& spec) {
  return spec.priority() == v1::JobSpec::PRIORITY_UNSPECIFIED
             ? v1::JobSpec::NORMAL
             : spec.priority();
}

int64_t ToMicros(const google::protobuf::Duration& duration) {
  return duration.seconds() * 1'000'000 + duration.nanos() / 1000;
}

}  // namespace quant

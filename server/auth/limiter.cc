#include "server/auth/limiter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"
#include "core/base/checked_math.h"
#include "core/base/quota_subject.h"

namespace quant {
namespace {

constexpr double kBurstSeconds = 2;

absl::Status Exhausted(Reason reason, absl::string_view message,
                       absl::string_view subject) {
  return MakeError(absl::StatusCode::kResourceExhausted, reason, message,
                   subject);
}

std::string Named(const Principal& caller) {
  return caller.name.empty() ? "whoever connects" : caller.name;
}

}  // namespace

Limiter::Limiter(const Limits& limits, const Clock& clock)
    : clock_(clock), limits_(limits) {}

Limits Limiter::limits() const {
  std::lock_guard lock(mutex_);
  return limits_;
}

void Limiter::SetLimits(const Limits& limits) {
  std::lock_guard lock(mutex_);
  limits_ = limits;
}

Limiter::Account& Limiter::AccountLocked(const Principal& caller, int64_t now) {
  const double rate = static_cast<double>(limits_.calls_per_second);
  const double most = rate * kBurstSeconds;
  auto [it, fresh] = accounts_.try_emplace(caller.name);
  Account& account = it->second;
  const double seconds =
      static_cast<double>(now - account.filled_micros) * 1e-6;
  account.tokens =
      fresh ? most
            : std::min(most, account.tokens + rate * std::max(seconds, 0.0));
  account.filled_micros = now;
  return account;
}

absl::Status Limiter::TakeCall(const Principal& caller) {
  std::lock_guard lock(mutex_);
  if (limits_.calls_per_second == 0) return absl::OkStatus();
  Account& account = AccountLocked(caller, clock_.MonotonicMicros());
  if (account.tokens >= 1) {
    account.tokens -= 1;
    return absl::OkStatus();
  }
  return Exhausted(
      Reason::kRateLimited,
      absl::StrCat(Named(caller), " may make ", limits_.calls_per_second,
                   " calls per second; try again later"),
      PrincipalSubject(caller.name));
}

absl::Status Limiter::TakeStream(const Principal& caller) {
  std::lock_guard lock(mutex_);
  Account& account = AccountLocked(caller, clock_.MonotonicMicros());
  if (limits_.streams == 0 || account.streams < limits_.streams) {
    ++account.streams;
    return absl::OkStatus();
  }
  return Exhausted(Reason::kQuotaExceeded,
                   absl::StrCat(Named(caller), " has ", account.streams,
                                " open streams, which is all that is allowed"),
                   PrincipalSubject(caller.name));
}

void Limiter::GiveBackStream(const Principal& caller) {
  std::lock_guard lock(mutex_);
  --accounts_[caller.name].streams;
}

absl::Status Limiter::CheckBytes(const Principal& caller, int64_t stored,
                                 int64_t more) const {
  const int64_t limit = limits().stored_bytes;
  const int64_t wanted = CheckedAdd(stored, more).value_or(INT64_MAX);
  if (limit == 0 || more <= 0 || wanted <= limit) return absl::OkStatus();
  return Exhausted(
      Reason::kQuotaExceeded,
      absl::StrCat(caller.tenant.empty() ? "" : "tenant ",
                   caller.tenant.empty() ? Named(caller) : caller.tenant,
                   " stores ", FormatBytes(stored), " of the ",
                   FormatBytes(limit), " that it may; ", FormatBytes(more),
                   " more do not fit; delete artifacts that nobody needs"),
      TenantSubject(caller.tenant));
}

}  // namespace quant

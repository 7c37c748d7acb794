#include "server/auth/authenticator.h"

#include <chrono>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

absl::Status Refused(absl::string_view message) {
  return MakeError(absl::StatusCode::kUnauthenticated, Reason::kUnauthenticated,
                   message);
}

// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, 11.1).
absl::StatusOr<absl::string_view> BearerToken(absl::string_view header) {
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(header, kScheme)) {
    return Refused("authorization: not of the scheme Bearer");
  }
  return absl::StripAsciiWhitespace(header.substr(kScheme.size()));
}

// Looks at all of them, whichever matches: the time says nothing.
PrincipalPtr FindToken(const AuthTable& table, absl::string_view token) {
  const TokenDigest digest = DigestOfToken(token);
  PrincipalPtr found;
  for (const auto& [known, principal] : table.tokens) {
    if (SameDigest(known, digest)) found = principal;
  }
  return found;
}

}  // namespace

Authenticator::Authenticator(std::string path, Options options)
    : path_(std::move(path)), options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Open(
    const std::string& path, Options options) {
  std::unique_ptr<Authenticator> out(
      new Authenticator(path, std::move(options)));
  QUANT_RETURN_IF_ERROR(out->Load());
  out->watcher_ = std::jthread(
      [self = out.get()](std::stop_token stop) { self->Watch(stop); });
  return out;
}

absl::StatusOr<PrincipalPtr> Authenticator::Authenticate(
    const Credentials& credentials) const {
  std::shared_ptr<const AuthTable> table;
  {
    std::lock_guard lock(mutex_);
    table = table_;
  }
  if (credentials.authorization.size() > 1) {
    return Refused("authorization: given more than once");
  }
  if (!credentials.authorization.empty()) {
    QUANT_ASSIGN_OR_RETURN(const absl::string_view token,
                           BearerToken(credentials.authorization[0]));
    if (PrincipalPtr found = FindToken(*table, token)) return found;
    return Refused("authorization: the server does not know this token");
  }
  for (const std::string& name : credentials.certificate_names) {
    const auto found = table->certificates.find(name);
    if (found != table->certificates.end()) return found->second;
  }
  return Refused(
      "the call has no credentials that the server knows; send a bearer token");
}

absl::Status Authenticator::Load() {
  absl::StatusOr<std::string> text = ReadFile(path_, kMaxAuthFileBytes);
  // What is wrong is said once, not with every look.
  const bool same = text.ok() ? unreadable_.ok() && *text == text_
                              : text.status() == unreadable_;
  if (same && table_ != nullptr) return absl::OkStatus();
  unreadable_ = text.status();
  if (text.ok()) text_ = *std::move(text);
  absl::StatusOr<int64_t> outcome =
      unreadable_.ok() ? Adopt() : absl::StatusOr<int64_t>(unreadable_);
  if (options_.loaded) options_.loaded(outcome);
  return outcome.status();
}

absl::StatusOr<int64_t> Authenticator::Adopt() {
  QUANT_ASSIGN_OR_RETURN(AuthTable table, ParseAuthFile(text_, path_));
  auto fresh = std::make_shared<const AuthTable>(std::move(table));
  const auto count = static_cast<int64_t>(fresh->principals.size());
  std::lock_guard lock(mutex_);
  table_ = std::move(fresh);
  return count;
}

void Authenticator::Watch(std::stop_token stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop,
                     std::chrono::microseconds(options_.poll_micros),
                     [] { return false; });
    }
    // The callback has said what there is to say.
    if (!stop.stop_requested()) Load().IgnoreError();
  }
}

}  // namespace quant

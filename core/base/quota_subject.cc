#include "core/base/quota_subject.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quant {
namespace {

constexpr absl::string_view kTenant = "tenant:";

absl::string_view NameOrAll(absl::string_view name) {
  return name.empty() ? "*" : name;
}

}  // namespace

std::string PrincipalSubject(absl::string_view name) {
  return absl::StrCat("principal:", NameOrAll(name));
}

std::string TenantSubject(absl::string_view name) {
  return absl::StrCat(kTenant, NameOrAll(name));
}

bool IsTenantSubject(absl::string_view subject) {
  return absl::StartsWith(subject, kTenant);
}

}  // namespace quant

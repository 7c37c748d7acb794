// Whom a quota is for.
#ifndef QUANT_CORE_BASE_QUOTA_SUBJECT_H_
#define QUANT_CORE_BASE_QUOTA_SUBJECT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "core/base/error.h"

namespace quant {

// The subject of google.rpc.QuotaFailure, as an error's field. What a principal
// has too much of (jobs, streams, calls) ends by itself; what a tenant stores
// stays until it is deleted, so that waiting is in vain. "*" where nobody is
// asked who they are: no name contains it.
std::string PrincipalSubject(absl::string_view name);
std::string TenantSubject(absl::string_view name);
bool IsTenantSubject(absl::string_view subject);

}  // namespace quant

#endif  // QUANT_CORE_BASE_QUOTA_SUBJECT_H_

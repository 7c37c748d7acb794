// Reasons of errors that are about who asks, not about what is asked. They
// belong to the one list of error.h, and stand beside it because only what
// faces callers needs them.
#ifndef QUANT_CORE_BASE_REFUSALS_H_
#define QUANT_CORE_BASE_REFUSALS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "core/base/error.h"

namespace quant {

// No credentials, or unknown ones.
inline constexpr Reason kUnauthenticated{1001};
// Known, but its role does not include this.
inline constexpr Reason kPermissionDenied{1002};
// A limit on what a caller may have at a time.
inline constexpr Reason kQuotaExceeded{1003};
// A limit on what a caller may do per second.
inline constexpr Reason kRateLimited{1004};
// A job ran for longer than it may.
inline constexpr Reason kJobTimeout{1005};

// The subject of google.rpc.QuotaFailure, as an error's field. What a principal
// has too much of (jobs, streams, calls) ends by itself; what a tenant stores
// stays until it is deleted, so that waiting is in vain. "*" where nobody is
// asked who they are: no name contains it.
std::string PrincipalSubject(absl::string_view name);
std::string TenantSubject(absl::string_view name);
bool IsTenantSubject(absl::string_view subject);

}  // namespace quant

#endif  // QUANT_CORE_BASE_REFUSALS_H_

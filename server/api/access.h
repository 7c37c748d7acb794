// Which role each method asks for, and who calls. The one table; a method that
// is not in it is refused to everybody, and a test holds it against the
// descriptors of all services.
#ifndef QUANT_SERVER_API_ACCESS_H_
#define QUANT_SERVER_API_ACCESS_H_

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/api/env.h"
#include "server/auth/auth_file.h"

namespace quant {

struct MethodAccess {
  absl::string_view method;   // "quant.v1.JobService/CreateJob"
  Role needs = Role::kAdmin;  // kNobody: no credentials are asked for
};
absl::Span<const MethodAccess> MethodTable();

// The caller of a method: UNAUTHENTICATED, or PERMISSION_DENIED when its role
// is not enough. Looks at nothing that the method is about, so that no answer
// tells whether something exists.
absl::StatusOr<PrincipalPtr> Authorize(
    const ApiEnv& env, absl::string_view method,
    const grpc::CallbackServerContext& context);

}  // namespace quant

#endif  // QUANT_SERVER_API_ACCESS_H_

// absl::Status with a reason (core/base/error.h) <-> google.rpc.Status with
// exactly one ErrorInfo, and BadRequest, RetryInfo or QuotaFailure where they
// say more.
#ifndef QUANT_CORE_RECIPE_RPC_STATUS_H_
#define QUANT_CORE_RECIPE_RPC_STATUS_H_

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace quant {

google::rpc::Status ToRpcStatus(const absl::Status& status);
absl::Status FromRpcStatus(const google::rpc::Status& status);

// Whether a retry of the same work may succeed: storage, crashes, lost leases;
// not bad models, recipes or gates.
bool IsRetryable(const absl::Status& status);

}  // namespace quant

#endif  // QUANT_CORE_RECIPE_RPC_STATUS_H_

// absl::Status -> grpc::Status, with google.rpc.Status in the trailing metadata
// ("grpc-status-details-bin").
#ifndef QUANT_SERVER_API_GRPC_STATUS_H_
#define QUANT_SERVER_API_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace quant {

// Messages are cut where the whole would not fit a peer's default limit on
// metadata (8 KiB), at the end of a line where there are several, and made
// valid UTF-8. They say how much more there is.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace quant

#endif  // QUANT_SERVER_API_GRPC_STATUS_H_

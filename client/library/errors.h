// Errors of a server as absl::Status.
//
// Every call of this library answers an absl::Status with the server's code and
// message. What the server says beyond that travels as payloads and is read
// with core/base/error.h and with the functions here:
//   GetReason(status)    why, e.g. Reason::kUnknownName
//   GetField(status)     the request field to blame, or empty
//   RetryDelay(status)   when the server asks to be called again
#ifndef QUANT_CLIENT_LIBRARY_ERRORS_H_
#define QUANT_CLIENT_LIBRARY_ERRORS_H_

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace quant {

// The error inside a message, e.g. Job.error. OK for an absent one.
absl::Status StatusFromWire(const google::rpc::Status& wire);

// The error of a call to `target`. Errors that no server sent (nobody listens,
// the connection broke) name the target; errors of the server stay as they are.
absl::Status StatusFromGrpc(const grpc::Status& status,
                            absl::string_view target);

// The server's google.rpc.RetryInfo: wait at least so long, then try again.
// Nothing when the server did not say so.
std::optional<std::chrono::milliseconds> RetryDelay(const absl::Status& status);

// Whether the same call may succeed later: UNAVAILABLE, and RESOURCE_EXHAUSTED
// where the server gave a RetryInfo.
bool IsTransient(const absl::Status& status);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_ERRORS_H_

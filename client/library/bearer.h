// Which bearer tokens may be sent.
#ifndef QUANT_CLIENT_LIBRARY_BEARER_H_
#define QUANT_CLIENT_LIBRARY_BEARER_H_

#include <string>

#include "absl/status/status.h"
#include "client/library/client.h"

namespace quant {

// INVALID_ARGUMENT for a token that no header can carry, and for one that would
// go over a network in plaintext although nobody asked for that. The message
// does not repeat the token.
absl::Status CheckToken(const std::string& target,
                        const ClientOptions& options);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_BEARER_H_

// Bearer tokens on every call of a channel.
#ifndef QUANT_CLIENT_LIBRARY_BEARER_H_
#define QUANT_CLIENT_LIBRARY_BEARER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/library/client.h"
#include "grpcpp/support/client_interceptor.h"

namespace quant {

// INVALID_ARGUMENT for a token that no header can carry, and for one that would
// go over a network in plaintext although nobody asked for that. The message
// does not repeat the token.
absl::Status CheckToken(const std::string& target,
                        const ClientOptions& options);

// What puts "authorization: Bearer ..." on each call; nothing without a token.
// gRPC's own call credentials refuse to work without TLS, also on loopback.
std::vector<
    std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>>
TokenInterceptors(const std::string& token);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_BEARER_H_

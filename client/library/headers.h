// What is sent with every call of a channel: the bearer token, the trace.
#ifndef QUANT_CLIENT_LIBRARY_HEADERS_H_
#define QUANT_CLIENT_LIBRARY_HEADERS_H_

#include <memory>
#include <string>
#include <vector>

#include "client/library/client.h"
#include "grpcpp/support/client_interceptor.h"

namespace quant {

// Puts "authorization: Bearer ..." and "traceparent: ..." on each call; nothing
// of which the options have none. gRPC's own call credentials refuse to work
// without TLS, also on loopback.
std::vector<
    std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>>
HeaderInterceptors(const ClientOptions& options);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_HEADERS_H_

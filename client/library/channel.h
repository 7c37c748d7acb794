// How this library's channels are set up.
#ifndef QUANT_CLIENT_LIBRARY_CHANNEL_H_
#define QUANT_CLIENT_LIBRARY_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/library/client.h"
#include "grpcpp/channel.h"

namespace quant {

// A connection of its own, that is, not one that an earlier call made: what to
// use after a stream fell silent, since its connection may be dead for good.
absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenChannel(
    const std::string& target, const ClientOptions& options);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_CHANNEL_H_

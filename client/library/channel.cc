#include "client/library/channel.h"

#include <utility>

#include "client/library/bearer.h"
#include "client/library/headers.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/trace_context.h"
#include "core/base/version.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace quant {
namespace {

constexpr int64_t kMaxPemBytes = 1 << 20;
// The plan or the description of a very large model is one message.
constexpr int kMaxReceiveBytes = 256 << 20;
// Long streams run at the speed of the connection only when a window of them
// covers its delay.
constexpr int kStreamWindowBytes = 8 << 20;
constexpr int kMaxFrameBytes = 4 << 20;

// Retries happen only for calls that the server did not answer. Watching is
// excepted: it is taken up again by sequence number instead.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [
      {"service": "quant.v1.JobService"},
      {"service": "quant.v1.ArtifactService"},
      {"service": "quant.v1.ModelService"},
      {"service": "quant.v1.TensorService"},
      {"service": "quant.v1.CatalogService"},
      {"service": "quant.v1.QueueService"},
      {"service": "google.bytestream.ByteStream", "method": "QueryWriteStatus"}
    ],
    "retryPolicy": {
      "maxAttempts": 4,
      "initialBackoff": "0.2s",
      "maxBackoff": "2s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }, {
    "name": [{"service": "quant.v1.JobService", "method": "WatchJob"}]
  }]
})";

absl::StatusOr<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  return ReadFile(path, kMaxPemBytes);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ClientOptions& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  QUANT_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem(options.tls->ca_file));
  QUANT_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem(options.tls->cert_file));
  QUANT_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem(options.tls->key_file));
  return grpc::SslCredentials(ssl);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenChannel(
    const std::string& target, const ClientOptions& options) {
  if (target.empty()) {
    return InvalidSpec("server: the address is empty; write host:port");
  }
  QUANT_RETURN_IF_ERROR(CheckToken(target, options));
  if (!options.traceparent.empty()) {
    QUANT_RETURN_IF_ERROR(ParseTraceparent(options.traceparent).status());
  }
  QUANT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials,
                         MakeCredentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetUserAgentPrefix(std::string("quant-client/") + kVersion);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kStreamWindowBytes);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
  // A restarted server is found within a second or two, not within minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // A peer that vanished without a word is noticed within a minute.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  // One connection per Client: two clients of one process don't share windows.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (!options.tls && !options.token.empty()) {
    // CheckToken found a peer on this machine. A proxy would read the token.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      target, credentials, arguments, HeaderInterceptors(options));
}

}  // namespace quant

#include "server/api/api_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/resource_quota.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "server/api/accept.h"
#include "server/api/artifact_service.h"
#include "server/api/byte_stream_service.h"
#include "server/api/catalog_service.h"
#include "server/api/health_service.h"
#include "server/api/job_service.h"
#include "server/api/model_service.h"
#include "server/api/queue_service.h"
#include "server/api/tensor_service.h"

namespace quant {
namespace {

constexpr int kMaxReceiveBytes = 4 << 20;
// Plans and inspections of models with many tensors are larger than requests.
constexpr int kMaxSendBytes = 64 << 20;
constexpr int kMaxMetadataBytes = 8 << 10;
constexpr int kMaxStreamsPerConnection = 256;
constexpr size_t kQuotaBytes = size_t{512} << 20;

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder.SetMaxSendMessageSize(kMaxSendBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
  // A second server on the same port must fail, not share it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetResourceQuota(grpc::ResourceQuota("quantd").Resize(kQuotaBytes));
}

// gRPC 1.51 unpacks a message before it looks at its size: 4 MiB of zeros in
// gzip would become 4 GiB. Compressed requests are UNIMPLEMENTED.
void RefuseCompression(grpc::ServerBuilder& builder) {
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

void SetKeepalive(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, 30 * 60'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 5 * 60'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 15 * 60'000);
}

std::vector<std::unique_ptr<grpc::Service>> MakeServices(const ApiEnv& env) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<JobService>(env));
  services.push_back(std::make_unique<ArtifactService>(env));
  services.push_back(std::make_unique<ModelService>(env));
  services.push_back(std::make_unique<QueueService>(env));
  services.push_back(std::make_unique<TensorService>(env));
  services.push_back(std::make_unique<CatalogService>(env));
  services.push_back(std::make_unique<ByteStreamService>(env));
  services.push_back(std::make_unique<HealthService>(env));
  return services;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(
    const ApiServerOptions& options, const ApiEnv& env) {
  QUANT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::ServerCredentials> credentials,
                         MakeCredentials(options.tls));
  // Registers itself with every builder of the process; once is enough.
  static const bool kReflection = [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)kReflection;
  ReserveDescriptors();
  std::unique_ptr<ApiServer> out(new ApiServer());
  grpc::ServerBuilder builder;
  SetLimits(builder);
  RefuseCompression(builder);
  SetKeepalive(builder);
  builder.AddListeningPort(options.listen, credentials, &out->port_);
  out->services_ = MakeServices(env);
  for (const auto& service : out->services_) {
    builder.RegisterService(service.get());
  }
  out->server_ = builder.BuildAndStart();
  if (out->server_ == nullptr || out->port_ == 0) {
    return MakeError(absl::StatusCode::kUnavailable,
                     Reason::kStorageUnavailable,
                     absl::StrCat("can't listen on ", options.listen,
                                  " (is the address taken?)"));
  }
  return out;
}

ApiServer::~ApiServer() { Shutdown(0); }

void ApiServer::Shutdown(int64_t grace_micros) {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::microseconds(grace_micros));
  server_->Wait();
}

}  // namespace quant

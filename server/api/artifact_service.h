// quant.v1.ArtifactService over the artifact store.
#ifndef QUANT_SERVER_API_ARTIFACT_SERVICE_H_
#define QUANT_SERVER_API_ARTIFACT_SERVICE_H_

#include "quant/v1/artifact.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

class ArtifactService final : public v1::ArtifactService::CallbackService {
 public:
  explicit ArtifactService(const ApiEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* ListArtifacts(
      grpc::CallbackServerContext* context,
      const v1::ListArtifactsRequest* request,
      v1::ListArtifactsResponse* response) override;
  grpc::ServerUnaryReactor* GetArtifact(grpc::CallbackServerContext* context,
                                        const v1::GetArtifactRequest* request,
                                        v1::Artifact* response) override;
  grpc::ServerUnaryReactor* DeleteArtifact(
      grpc::CallbackServerContext* context,
      const v1::DeleteArtifactRequest* request,
      google::protobuf::Empty* response) override;

 private:
  const ApiEnv& env_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_ARTIFACT_SERVICE_H_

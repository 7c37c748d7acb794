// quant.v1.ModelService over the upload store and the planner.
#ifndef QUANT_SERVER_API_MODEL_SERVICE_H_
#define QUANT_SERVER_API_MODEL_SERVICE_H_

#include "quant/v1/model.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

class ModelService final : public v1::ModelService::CallbackService {
 public:
  explicit ModelService(const ApiEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* CreateUpload(grpc::CallbackServerContext* context,
                                         const v1::CreateUploadRequest* request,
                                         v1::Upload* response) override;
  grpc::ServerUnaryReactor* GetUpload(grpc::CallbackServerContext* context,
                                      const v1::GetUploadRequest* request,
                                      v1::Upload* response) override;
  grpc::ServerUnaryReactor* InspectModel(grpc::CallbackServerContext* context,
                                         const v1::InspectModelRequest* request,
                                         v1::ModelInfo* response) override;

 private:
  const ApiEnv& env_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_MODEL_SERVICE_H_

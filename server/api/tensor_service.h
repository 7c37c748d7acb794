// quant.v1.TensorService over the planner.
#ifndef QUANT_SERVER_API_TENSOR_SERVICE_H_
#define QUANT_SERVER_API_TENSOR_SERVICE_H_

#include "quant/v1/tensor.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

class TensorService final : public v1::TensorService::CallbackService {
 public:
  explicit TensorService(const ApiEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* QuantizeTensor(
      grpc::CallbackServerContext* context,
      const v1::QuantizeTensorRequest* request,
      v1::QuantizeTensorResponse* response) override;

 private:
  const ApiEnv& env_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_TENSOR_SERVICE_H_

#include "server/api/tensor_service.h"

#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr CallInfo kQuantizeTensor = {"quant.v1.TensorService/QuantizeTensor",
                                      Lane::kCompute};

}  // namespace

grpc::ServerUnaryReactor* TensorService::QuantizeTensor(
    grpc::CallbackServerContext* context,
    const v1::QuantizeTensorRequest* request,
    v1::QuantizeTensorResponse* response) {
  return HandleNow(env_, kQuantizeTensor, context, [=, this](Caller caller) {
    QUANT_ASSIGN_OR_RETURN(*response, env_.planner.QuantizeTensor(*request));
    return absl::OkStatus();
  });
}

}  // namespace quant

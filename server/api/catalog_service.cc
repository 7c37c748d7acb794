#include "server/api/catalog_service.h"

namespace quant {
namespace {

constexpr CallInfo kGetCapabilities = {
    "quant.v1.CatalogService/GetCapabilities"};

}  // namespace

grpc::ServerUnaryReactor* CatalogService::GetCapabilities(
    grpc::CallbackServerContext* context,
    const v1::GetCapabilitiesRequest* request, v1::Capabilities* response) {
  return HandleNow(env_, kGetCapabilities, context, [=, this](Caller) {
    *response = env_.planner.Capabilities();
    return absl::OkStatus();
  });
}

}  // namespace quant

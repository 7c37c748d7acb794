// quant.v1.CatalogService over the planner.
#ifndef QUANT_SERVER_API_CATALOG_SERVICE_H_
#define QUANT_SERVER_API_CATALOG_SERVICE_H_

#include "quant/v1/catalog.grpc.pb.h"
#include "server/api/call.h"
#include "server/api/env.h"

namespace quant {

class CatalogService final : public v1::CatalogService::CallbackService {
 public:
  explicit CatalogService(const ApiEnv& env) : env_(env) {}

  grpc::ServerUnaryReactor* GetCapabilities(
      grpc::CallbackServerContext* context,
      const v1::GetCapabilitiesRequest* request,
      v1::Capabilities* response) override;

 private:
  const ApiEnv& env_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_CATALOG_SERVICE_H_

#include "client/library/headers.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace quant {
namespace {

using grpc::experimental::ClientInterceptorFactoryInterface;
using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

using Header = std::pair<std::string, std::string>;

class HeaderInterceptor final : public Interceptor {
 public:
  explicit HeaderInterceptor(const Header& header) : header_(header) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->insert(header_);
    }
    methods->Proceed();
  }

 private:
  const Header& header_;  // the factory's, which outlives its channel
};

class HeaderInterceptorFactory final
    : public ClientInterceptorFactoryInterface {
 public:
  explicit HeaderInterceptorFactory(Header header)
      : header_(std::move(header)) {}

  Interceptor* CreateClientInterceptor(ClientRpcInfo*) override {
    return new HeaderInterceptor(header_);
  }

 private:
  const Header header_;
};

}  // namespace

std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>>
HeaderInterceptors(const ClientOptions& options) {
  std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>> out;
  const auto add = [&](std::string name, std::string value) {
    out.push_back(std::make_unique<HeaderInterceptorFactory>(
        Header(std::move(name), std::move(value))));
  };
  if (!options.token.empty()) {
    add("authorization", absl::StrCat("Bearer ", options.token));
  }
  if (!options.traceparent.empty()) add("traceparent", options.traceparent);
  return out;
}

}  // namespace quant

#include "client/library/bearer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/loopback.h"

namespace quant {
namespace {

using grpc::experimental::ClientInterceptorFactoryInterface;
using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

constexpr size_t kMaxTokenBytes = 4096;

class TokenInterceptor final : public Interceptor {
 public:
  explicit TokenInterceptor(const std::string& header) : header_(header) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", header_);
    }
    methods->Proceed();
  }

 private:
  const std::string& header_;  // the factory's, which outlives its channel
};

class TokenInterceptorFactory final : public ClientInterceptorFactoryInterface {
 public:
  explicit TokenInterceptorFactory(const std::string& token)
      : header_(absl::StrCat("Bearer ", token)) {}

  Interceptor* CreateClientInterceptor(ClientRpcInfo*) override {
    return new TokenInterceptor(header_);
  }

 private:
  const std::string header_;
};

}  // namespace

absl::Status CheckToken(const std::string& target,
                        const ClientOptions& options) {
  const std::string& token = options.token;
  if (token.empty()) return absl::OkStatus();
  const bool printable = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (!printable || token.size() > kMaxTokenBytes) {
    return InvalidSpec(absl::StrCat("token: ", token.size(),
                                    " bytes; want up to ", kMaxTokenBytes,
                                    " printable ones, without spaces"));
  }
  if (!options.tls && !IsLoopback(target) && !options.token_over_plaintext) {
    return InvalidSpec(absl::StrCat(
        "token: would go to ", target,
        " in plaintext, for everyone on the way to read; use TLS, or ask for "
        "it by --token-over-plaintext where the network is trusted"));
  }
  return absl::OkStatus();
}

std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>>
TokenInterceptors(const std::string& token) {
  std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>> out;
  if (!token.empty()) {
    out.push_back(std::make_unique<TokenInterceptorFactory>(token));
  }
  return out;
}

}  // namespace quant

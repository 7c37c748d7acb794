#include "server/api/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// How soon new files are in use.
constexpr unsigned int kRefreshSeconds = 5;
constexpr int64_t kMaxPemBytes = 1 << 20;

absl::Status CheckPem(const std::string& path, absl::string_view what) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxPemBytes);
  if (!text.ok()) return Annotate(text.status(), what);
  if (text->find("-----BEGIN ") == std::string::npos) {
    return InvalidSpec(absl::StrCat(what, ": ", path, " is not a PEM file"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const TlsFiles& files) {
  if (files.cert.empty()) return grpc::InsecureServerCredentials();
  // The watcher would only log what it can't read.
  QUANT_RETURN_IF_ERROR(CheckPem(files.cert, "TLS certificate"));
  QUANT_RETURN_IF_ERROR(CheckPem(files.key, "TLS key"));
  namespace tls = grpc::experimental;
  std::shared_ptr<tls::FileWatcherCertificateProvider> provider;
  const bool mutual = !files.client_ca.empty();
  if (mutual) {
    QUANT_RETURN_IF_ERROR(CheckPem(files.client_ca, "TLS client CA"));
    provider = std::make_shared<tls::FileWatcherCertificateProvider>(
        files.key, files.cert, files.client_ca, kRefreshSeconds);
  } else {
    provider = std::make_shared<tls::FileWatcherCertificateProvider>(
        files.key, files.cert, kRefreshSeconds);
  }
  tls::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (mutual) {
    options.watch_root_certs();
    options.set_cert_request_type(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return tls::TlsServerCredentials(options);
}

}  // namespace quant

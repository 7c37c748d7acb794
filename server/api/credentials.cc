#include "server/api/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>

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

absl::StatusOr<int64_t> CertificateExpiry(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxPemBytes));
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr), X509_free);
  std::tm end = {};
  if (certificate == nullptr ||
      ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    return InvalidSpec(absl::StrCat(path, " holds no certificate"));
  }
  return ::timegm(&end);
}

}  // namespace quant

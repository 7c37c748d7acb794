// Who may connect: plaintext, TLS, or TLS with client certificates.
#ifndef QUANT_SERVER_API_CREDENTIALS_H_
#define QUANT_SERVER_API_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quant {

// PEM files. They are watched: replace key and certificate together (rename
// their directory, or flip a link) and new connections use the new ones.
struct TlsFiles {
  std::string cert;  // empty = plaintext
  std::string key;
  std::string client_ca;  // not empty: clients must show a certificate of it
};

// INVALID_ARGUMENT when a file can't be read.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const TlsFiles& files);

// The end of the first certificate of a PEM file, in seconds since the Unix
// epoch.
absl::StatusOr<int64_t> CertificateExpiry(const std::string& path);

}  // namespace quant

#endif  // QUANT_SERVER_API_CREDENTIALS_H_

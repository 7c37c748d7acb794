#include "client/library/bearer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/loopback.h"

namespace quant {
namespace {

constexpr size_t kMaxTokenBytes = 4096;

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

}  // namespace quant

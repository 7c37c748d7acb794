#include "server/api/page_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {
namespace {

constexpr size_t kMacBytes = 16;  // of HMAC-SHA256, truncated
constexpr size_t kMaxTokenBytes = 512;
constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;

std::string Mac(absl::string_view key, absl::string_view filter,
                absl::string_view last_id) {
  // The length keeps filter and id apart.
  const std::string text =
      absl::StrCat("page1:", filter.size(), ":", filter, last_id);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest,
       &size);
  return std::string(reinterpret_cast<const char*>(digest), kMacBytes);
}

}  // namespace

std::string MakePageToken(absl::string_view key, absl::string_view filter,
                          absl::string_view last_id) {
  return absl::WebSafeBase64Escape(
      absl::StrCat(Mac(key, filter, last_id), last_id));
}

absl::StatusOr<std::string> ParsePageToken(absl::string_view key,
                                           absl::string_view filter,
                                           absl::string_view token) {
  if (token.empty()) return std::string();
  std::string raw;
  if (token.size() <= kMaxTokenBytes &&
      absl::WebSafeBase64Unescape(token, &raw) && raw.size() > kMacBytes) {
    std::string last_id = raw.substr(kMacBytes);
    const std::string mac = Mac(key, filter, last_id);
    if (CRYPTO_memcmp(mac.data(), raw.data(), kMacBytes) == 0) return last_id;
  }
  return MakeError(absl::StatusCode::kInvalidArgument,
                   Reason::kPageTokenInvalid,
                   "page_token is not one that this server gave for a request "
                   "with these fields; start again without one",
                   "page_token");
}

std::string TenantText(const std::optional<std::string>& tenant) {
  return tenant ? absl::StrCat(" of ", *tenant) : " of all";
}

absl::StatusOr<int> PageSize(int32_t requested) {
  if (requested < 0) {
    return InvalidSpec(
        absl::StrCat("page_size is ", requested, "; it can't be negative"),
        "page_size");
  }
  return requested == 0 ? kDefaultPageSize : std::min(requested, kMaxPageSize);
}

}  // namespace quant

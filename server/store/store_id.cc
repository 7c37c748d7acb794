#include "server/store/store_id.h"

#include <openssl/rand.h>

#include "core/base/file.h"

namespace quant {
namespace {

constexpr char kAlphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr size_t kIdLength = 26;
constexpr size_t kMaxPathBytes = 512;

}  // namespace

std::string NewStoreId(int64_t now_micros) {
  std::string id;
  const uint64_t millis = static_cast<uint64_t>(now_micros / 1000);
  for (int shift = 45; shift >= 0; shift -= 5) {
    id.push_back(kAlphabet[(millis >> shift) & 31]);
  }
  unsigned char random[kIdLength];
  RAND_bytes(random, sizeof(random));
  for (size_t i = id.size(); i < kIdLength; ++i) {
    id.push_back(kAlphabet[random[i] & 31]);
  }
  return id;
}

bool IsStoreId(absl::string_view id) {
  if (id.size() != kIdLength) return false;
  for (char c : id) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'))) return false;
  }
  return true;
}

bool IsRelativePath(absl::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes) return false;
  while (true) {
    const size_t slash = path.find('/');
    if (!IsPlainFileName(path.substr(0, slash))) return false;
    if (slash == absl::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace quant

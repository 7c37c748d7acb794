#include "server/store/store_id.h"

#include <openssl/rand.h>

namespace quant {
namespace {

constexpr char kAlphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr size_t kIdLength = 26;

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

}  // namespace quant

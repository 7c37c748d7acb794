// Bearer tokens: 256 random bits that only their holder keeps. The server knows
// the SHA-256, which is as good as a slow password hash when what is hashed
// can't be guessed.
#ifndef QUANT_SERVER_AUTH_TOKEN_H_
#define QUANT_SERVER_AUTH_TOKEN_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// "quant_" and 43 characters of base64url.
absl::StatusOr<std::string> NewToken();

using TokenDigest = std::array<uint8_t, 32>;

TokenDigest DigestOfToken(absl::string_view token);
// 64 lower-case hex digits.
std::string DigestToHex(const TokenDigest& digest);
std::optional<TokenDigest> DigestFromHex(absl::string_view hex);
// In time that does not depend on the bytes.
bool SameDigest(const TokenDigest& a, const TokenDigest& b);

}  // namespace quant

#endif  // QUANT_SERVER_AUTH_TOKEN_H_

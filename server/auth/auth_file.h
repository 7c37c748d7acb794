// The file of --auth-file: one credential per line, with who holds it.
//
//   # name      role       tenant   credential
//   ci          submitter  team-a   sha256:9f86d081884c7d65...
//   dashboard   viewer     team-a   cert:dashboard.example.com
//
// A name may stand on several lines, for tokens that overlap while one replaces
// the other; role and tenant must then be the same.
#ifndef QUANT_SERVER_AUTH_AUTH_FILE_H_
#define QUANT_SERVER_AUTH_AUTH_FILE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/auth/principal.h"
#include "server/auth/token.h"

namespace quant {

// Shared by the calls that are being answered while the file changes.
using PrincipalPtr = std::shared_ptr<const Principal>;

struct AuthTable {
  std::map<std::string, PrincipalPtr> principals;  // by name
  std::vector<std::pair<TokenDigest, PrincipalPtr>> tokens;
  // By common name or subject alternative name of a verified certificate.
  std::map<std::string, PrincipalPtr> certificates;
};

inline constexpr int64_t kMaxAuthFileBytes = 1 << 20;

// INVALID_ARGUMENT with every problem on a line of its own. No message repeats
// a credential: a token that stands there by mistake stays secret.
absl::StatusOr<AuthTable> ParseAuthFile(absl::string_view text,
                                        const std::string& path);

// The line of a token.
std::string AuthLine(const Principal& principal, const TokenDigest& digest);

// [a-z0-9._-]{1,63} that begins with a letter or digit: names and tenants,
// which are also names of directories.
bool IsPrincipalName(absl::string_view name);

}  // namespace quant

#endif  // QUANT_SERVER_AUTH_AUTH_FILE_H_

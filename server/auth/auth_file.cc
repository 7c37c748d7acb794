#include "server/auth/auth_file.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/error.h"

namespace quant {
namespace {

constexpr size_t kMaxNameBytes = 63;
constexpr size_t kMaxCertificateNameBytes = 253;  // as a DNS name
// Each call compares its token with all of them.
constexpr size_t kMaxCredentials = 1024;

std::string Shown(absl::string_view word) {
  return absl::StrCat("\"", absl::CHexEscape(word.substr(0, 64)), "\"");
}

class Parser {
 public:
  explicit Parser(const std::string& path) : path_(path) {}

  absl::StatusOr<AuthTable> Parse(absl::string_view text) {
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      ++number_;
      line = line.substr(0, line.find('#'));
      line = absl::StripAsciiWhitespace(line);
      if (!line.empty()) ParseLine(line);
    }
    if (table_.principals.empty()) {
      ++number_;
      Problem("nobody may do anything; want a line like quantd token prints");
    }
    if (table_.tokens.size() + table_.certificates.size() > kMaxCredentials) {
      Problem(absl::StrCat("more than ", kMaxCredentials, " credentials"));
    }
    if (problems_.empty()) return std::move(table_);
    return InvalidSpec(absl::StrJoin(problems_, "\n"));
  }

 private:
  void Problem(absl::string_view what) {
    problems_.push_back(absl::StrCat(path_, ":", number_, ": ", what));
  }

  void ParseLine(absl::string_view line) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.size() != 4) {
      return Problem(absl::StrCat(words.size(),
                                  " words; want name, role, tenant and "
                                  "sha256:DIGEST or cert:NAME"));
    }
    const size_t before = problems_.size();
    const std::optional<Role> role = ParseRole(words[1]);
    CheckName("name", words[0]);
    if (!role) {
      Problem(absl::StrCat("role ", Shown(words[1]),
                           "; want viewer, submitter, operator or admin"));
    }
    CheckName("tenant", words[2]);
    if (problems_.size() > before) return;
    const PrincipalPtr principal = Find({.name = std::string(words[0]),
                                         .tenant = std::string(words[2]),
                                         .role = *role});
    if (principal != nullptr) AddCredential(words[3], principal);
  }

  void CheckName(absl::string_view what, absl::string_view name) {
    if (IsPrincipalName(name)) return;
    Problem(absl::StrCat(what, " ", Shown(name), "; want 1 to ", kMaxNameBytes,
                         " characters of [a-z0-9._-], first a letter or "
                         "digit"));
  }

  PrincipalPtr Find(Principal wanted) {
    PrincipalPtr& known = table_.principals[wanted.name];
    if (known == nullptr) {
      known = std::make_shared<const Principal>(std::move(wanted));
    } else if (known->role != wanted.role || known->tenant != wanted.tenant) {
      Problem(absl::StrCat(wanted.name, " was ", RoleName(known->role), " of ",
                           known->tenant,
                           " above; want the same role and tenant"));
      return nullptr;
    }
    return known;
  }

  void AddCredential(absl::string_view word, const PrincipalPtr& principal) {
    if (absl::ConsumePrefix(&word, "sha256:")) {
      const std::optional<TokenDigest> digest = DigestFromHex(word);
      if (!digest) return Problem("sha256: want 64 lower-case hex digits");
      for (const auto& [known, holder] : table_.tokens) {
        if (known == *digest) {
          return Problem(absl::StrCat("the token of ", holder->name,
                                      " again; want one of its own"));
        }
      }
      table_.tokens.emplace_back(*digest, principal);
    } else if (absl::ConsumePrefix(&word, "cert:")) {
      if (word.empty() || word.size() > kMaxCertificateNameBytes) {
        return Problem("cert: want a name of a certificate");
      }
      if (!table_.certificates.emplace(std::string(word), principal).second) {
        Problem("cert: the same name twice");
      }
    } else {
      Problem("the credential is neither sha256:DIGEST nor cert:NAME");
    }
  }

  const std::string& path_;
  int number_ = 0;
  AuthTable table_;
  std::vector<std::string> problems_;
};

}  // namespace

bool IsPrincipalName(absl::string_view name) {
  const auto is_letter_or_digit = [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c));
  };
  return !name.empty() && name.size() <= kMaxNameBytes &&
         is_letter_or_digit(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

absl::StatusOr<AuthTable> ParseAuthFile(absl::string_view text,
                                        const std::string& path) {
  return Parser(path).Parse(text);
}

std::string AuthLine(const Principal& principal, const TokenDigest& digest) {
  return absl::StrCat(principal.name, "  ", RoleName(principal.role), "  ",
                      principal.tenant, "  sha256:", DigestToHex(digest));
}

}  // namespace quant

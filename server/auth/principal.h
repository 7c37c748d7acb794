// Who calls, once that is known.
#ifndef QUANT_SERVER_AUTH_PRINCIPAL_H_
#define QUANT_SERVER_AUTH_PRINCIPAL_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace quant {

// Each role may do what those before it may.
enum class Role {
  kNobody,     // calls that need no credentials
  kViewer,     // reads jobs, artifacts and uploads of its tenant
  kSubmitter,  // makes, cancels and deletes them
  kOperator,   // runs the server's queue
  kAdmin,      // sees and changes what any tenant has
};

// "viewer", ...; nothing for other words (kNobody can't be given).
absl::string_view RoleName(Role role);
std::optional<Role> ParseRole(absl::string_view name);

struct Principal {
  std::string name;
  std::string tenant;  // owns what the principal makes
  Role role = Role::kNobody;

  bool sees_all() const { return role == Role::kAdmin; }
  // Whether what `owner` has exists for this principal.
  bool Sees(absl::string_view owner) const {
    return sees_all() || owner == absl::string_view(tenant);
  }
};

// Who calls a server that asks nobody for credentials. Tenant "" has no other
// members: no file can name it.
inline Principal Anyone() {
  return {.name = "", .tenant = "", .role = Role::kAdmin};
}

}  // namespace quant

#endif  // QUANT_SERVER_AUTH_PRINCIPAL_H_

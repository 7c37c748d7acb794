#include "server/auth/principal.h"

namespace quant {
namespace {

struct Row {
  Role role;
  absl::string_view name;
};
constexpr Row kRoles[] = {{Role::kViewer, "viewer"},
                          {Role::kSubmitter, "submitter"},
                          {Role::kOperator, "operator"},
                          {Role::kAdmin, "admin"}};

}  // namespace

absl::string_view RoleName(Role role) {
  for (const Row& row : kRoles) {
    if (row.role == role) return row.name;
  }
  return "nobody";
}

std::optional<Role> ParseRole(absl::string_view name) {
  for (const Row& row : kRoles) {
    if (row.name == name) return row.role;
  }
  return std::nullopt;
}

}  // namespace quant

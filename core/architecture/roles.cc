#include "core/architecture/roles.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quant {
namespace {

struct Row {
  absl::string_view part;
  absl::string_view role;
  ModuleClass module_class;
};

constexpr Row kRoles[] = {
#define QUANT_ROLE(part, role, module_class) \
  {part, role, ModuleClass::module_class},
#include "core/architecture/roles.def"
#undef QUANT_ROLE
};

const std::vector<std::vector<absl::string_view>>& FusedTable() {
  static const std::vector<std::vector<absl::string_view>> table = {
#define QUANT_FUSED(...) {__VA_ARGS__},
#include "core/architecture/fused.def"
#undef QUANT_FUSED
  };
  return table;
}

absl::string_view LastPart(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? name : name.substr(dot + 1);
}

bool IsNormName(absl::string_view part) {
  return absl::EndsWith(part, "norm") || absl::StartsWith(part, "ln_") ||
         part == "norm1" || part == "norm2" || part == "ln";
}

void Classify(TensorRole& role) {
  const absl::string_view part = LastPart(role.module);
  for (const Row& row : kRoles) {
    if (row.part == part) {
      role.role = std::string(row.role);
      role.module_class = row.module_class;
      return;
    }
  }
  if (IsNormName(part)) {
    role.role = "norm";
    role.module_class = ModuleClass::kNorm;
  } else if (role.is_matrix) {
    role.role = "linear";
    role.module_class = ModuleClass::kLinear;
  } else {
    role.role = "other";
  }
}

}  // namespace

absl::string_view ModuleClassName(ModuleClass module_class) {
  switch (module_class) {
    case ModuleClass::kLinear:
      return "Linear";
    case ModuleClass::kEmbedding:
      return "Embedding";
    case ModuleClass::kNorm:
      return "Norm";
    case ModuleClass::kRouter:
      return "Router";
    case ModuleClass::kLmHead:
      return "LmHead";
    case ModuleClass::kOther:
      return "Other";
  }
  return "Other";
}

TensorRole RoleOf(const TensorEntry& tensor) {
  TensorRole role;
  const size_t dot = tensor.name.rfind('.');
  if (dot == std::string::npos) {
    role.leaf = tensor.name;
  } else {
    role.module = tensor.name.substr(0, dot);
    role.leaf = tensor.name.substr(dot + 1);
  }
  // GGUF files stack the experts of a layer: [experts, out, in].
  const size_t rank = absl::EndsWith(role.module, "_exps") ? 3 : 2;
  role.is_matrix = role.leaf == "weight" && tensor.shape.size() == rank &&
                   IsWeightFloat(tensor.dtype);
  Classify(role);
  if (role.leaf == "bias") role.role = "bias";
  return role;
}

std::vector<std::string> FusedWith(const std::string& module) {
  const absl::string_view part = LastPart(module);
  const std::string parent = module.substr(0, module.size() - part.size());
  for (const auto& parts : FusedTable()) {
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) continue;
    std::vector<std::string> modules;
    for (absl::string_view sibling : parts) {
      modules.push_back(absl::StrCat(parent, sibling));
    }
    return modules;
  }
  return {module};
}

std::vector<std::string> KnownRoles() {
  std::set<std::string> names = {"Linear", "Embedding", "Norm",   "Router",
                                 "LmHead", "norm",      "linear", "bias"};
  for (const Row& row : kRoles) names.emplace(row.role);
  return {names.begin(), names.end()};
}

}  // namespace quant

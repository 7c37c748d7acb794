// What each tensor of a model is, by tables of names (roles.def, fused.def).
#ifndef QUANT_CORE_ARCHITECTURE_ROLES_H_
#define QUANT_CORE_ARCHITECTURE_ROLES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/container/model_reader.h"

namespace quant {

enum class ModuleClass { kLinear, kEmbedding, kNorm, kRouter, kLmHead, kOther };

// "Linear", "Embedding", "Norm", "Router", "LmHead", "Other".
absl::string_view ModuleClassName(ModuleClass module_class);

struct TensorRole {
  std::string module;  // tensor name without its last part ("....q_proj")
  std::string leaf;    // the last part ("weight", "bias")
  std::string role;    // "attention.q", "embedding", "norm", "bias", ...
  ModuleClass module_class = ModuleClass::kOther;
  // The weight matrix [out, in] of its module: what can be quantized.
  bool is_matrix = false;
};

TensorRole RoleOf(const TensorEntry& tensor);

// Names of the modules that are merged with `module`, itself included, in
// stacking order; just itself when it is not part of a merged one. Not all of
// them need exist.
std::vector<std::string> FusedWith(const std::string& module);

// All roles and classes that rules can name, for "did you mean".
std::vector<std::string> KnownRoles();

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_ROLES_H_

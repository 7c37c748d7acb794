#include "core/artifact/module_lists.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {

bool SameNumbers(Scheme a, Scheme b) {
  a.name.clear();
  b.name.clear();
  return a == b;
}

Scheme CommonScheme(const std::vector<QuantizedModule>& modules) {
  Scheme common;
  int64_t most = 0;
  for (const QuantizedModule& module : modules) {
    if (!module.quantized || SameNumbers(module.scheme, common)) continue;
    const int64_t count = std::count_if(
        modules.begin(), modules.end(), [&](const QuantizedModule& other) {
          return other.quantized && SameNumbers(other.scheme, module.scheme);
        });
    if (count <= most) continue;
    most = count;
    common = module.scheme;
  }
  return common;
}

absl::StatusOr<Scheme> OnlyScheme(const std::vector<QuantizedModule>& modules,
                                  absl::string_view format) {
  const QuantizedModule* first = nullptr;
  for (const QuantizedModule& module : modules) {
    if (!module.quantized) continue;
    if (first == nullptr) first = &module;
    if (SameNumbers(module.scheme, first->scheme)) continue;
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("format \"", format,
                     "\" has one setting for all modules; ", first->role.module,
                     " is ", DescribeScheme(first->scheme), " and ",
                     module.role.module, " is ", DescribeScheme(module.scheme),
                     "; the nearest that mixes is \"compressed-tensors\""));
  }
  return first == nullptr ? Scheme() : first->scheme;
}

std::vector<std::string> KeptLinears(
    const std::vector<QuantizedModule>& modules) {
  std::vector<std::string> kept;
  bool has_head = false;
  for (const QuantizedModule& module : modules) {
    const ModuleClass c = module.role.module_class;
    has_head |= c == ModuleClass::kLmHead;
    if (module.quantized || !module.role.is_matrix) continue;
    if (c == ModuleClass::kLinear || c == ModuleClass::kLmHead ||
        c == ModuleClass::kRouter) {
      kept.push_back(module.role.module);
    }
  }
  if (!has_head) kept.push_back("lm_head");
  return kept;
}

}  // namespace quant

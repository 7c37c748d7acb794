// What configurations say of modules, for formats with one scheme for all.
#ifndef QUANT_CORE_ARTIFACT_MODULE_LISTS_H_
#define QUANT_CORE_ARTIFACT_MODULE_LISTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/format.h"

namespace quant {

// The scheme of most quantized modules: what goes without saying.
Scheme CommonScheme(const std::vector<QuantizedModule>& modules);

// INVALID_ARGUMENT UNSUPPORTED, naming a module, when not all quantized modules
// have the same numbers: `format` has one setting for all of them.
absl::StatusOr<Scheme> OnlyScheme(const std::vector<QuantizedModule>& modules,
                                  absl::string_view format);

// Linear modules, in the loaders' sense (anything built as a linear layer),
// that keep their weights; lm_head also where its weights are tied to others.
std::vector<std::string> KeptLinears(
    const std::vector<QuantizedModule>& modules);

// The same numbers on disk, whatever the preset's name.
bool SameNumbers(Scheme a, Scheme b);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_MODULE_LISTS_H_

// Nearest-name answers for everything that is looked up by a string.
#ifndef QUANT_CORE_BASE_NAMES_H_
#define QUANT_CORE_BASE_NAMES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quant {

// Edits (insert, delete, replace, swap of neighbours), ignoring ASCII case.
int EditDistance(absl::string_view a, absl::string_view b);

// The known name nearest to `name`, or empty when none is near.
std::string NearestName(absl::string_view name,
                        const std::vector<std::string>& known);

// INVALID_ARGUMENT UNKNOWN_NAME:
//   unknown scheme "W4A61"; did you mean "W4A16"? known: ...
absl::Status UnknownNameError(absl::string_view kind, absl::string_view name,
                              const std::vector<std::string>& known,
                              absl::string_view field = {});

}  // namespace quant

#endif  // QUANT_CORE_BASE_NAMES_H_

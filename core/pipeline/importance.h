// An importance matrix for the outputs of a request.
#ifndef QUANT_CORE_PIPELINE_IMPORTANCE_H_
#define QUANT_CORE_PIPELINE_IMPORTANCE_H_

#include <string>

#include "absl/status/status.h"
#include "core/pipeline/request.h"

namespace quant {

// Reads the file `path` (or the one file of the directory `path`) and gives it
// to every output of `request`. Errors of ReadImatrix; INVALID_ARGUMENT for a
// directory that does not hold just one file.
absl::Status LoadImportance(const std::string& path, PlanRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_IMPORTANCE_H_

// Files beside the model for the outputs of a request: an importance matrix, a
// calibration text.
#ifndef QUANT_CORE_PIPELINE_IMPORTANCE_H_
#define QUANT_CORE_PIPELINE_IMPORTANCE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/pipeline/request.h"

namespace quant {

// Reads the file `path` (or the one file of the directory `path`) and gives it
// to every output of `request`. Errors of ReadImatrix; INVALID_ARGUMENT for a
// directory that does not hold just one file.
absl::Status LoadImportance(const std::string& path, PlanRequest& request);

struct CalibrationSource {
  std::string path;  // as above: token ids, .npy
  int64_t sequence_length = 0;
  int64_t max_sequences = 0;
};
// The same for a calibration text, to outputs whose method uses it; it is an
// error when none does. Errors of ReadTokens.
absl::Status LoadCalibration(const CalibrationSource& source,
                             PlanRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_IMPORTANCE_H_

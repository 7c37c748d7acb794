// The last stage: text files, side files, manifest, fsync and metrics.
#ifndef QUANT_CORE_PIPELINE_FINISH_H_
#define QUANT_CORE_PIPELINE_FINISH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/journal.h"
#include "core/pipeline/output_file.h"

namespace quant {

// Completes output `index` in `directory`, whose weight files are written and
// hashed. `source_sha256`: one per weight file of the source, or empty.
absl::StatusOr<ExecutedOutput> FinishOutput(
    const ModelReader& model, const Plan& plan, int index,
    const std::string& directory, const Journal& journal,
    std::vector<OutputFile>& files,
    const std::vector<std::string>& source_sha256, bool sync);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_FINISH_H_

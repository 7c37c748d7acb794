// The stage of a job in which a text runs through the source and through every
// finished output, some windows at a time: their figures go to files of the
// work directory, so that a later attempt goes on behind them.
//
//   evaluated/<output>/part-<n>      figures of the windows of part n
//   evaluated/<output>/kept.states   of the part that is under way (keep_for.h)
#ifndef QUANT_CORE_PIPELINE_EVALUATED_STAGE_H_
#define QUANT_CORE_PIPELINE_EVALUATED_STAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/evaluate/evaluate.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/plan.h"

namespace quant {

// One per output of the plan; `directories` hold them, `source` is the model as
// it was opened. The same numbers however often the stage was interrupted.
// CANCELLED when stopped.
absl::StatusOr<std::vector<Evaluation>> RunEvaluatedStage(
    const ModelReader& source, const Plan& plan,
    const std::vector<std::string>& directories, const ExecuteOptions& options);

// Bounds on the memory and on the disk that the stage takes.
struct EvaluatedBounds {
  int64_t memory_bytes = 0;
  int64_t disk_bytes = 0;
};
EvaluatedBounds BoundsOfEvaluatedStage(const Plan& plan, int threads);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_EVALUATED_STAGE_H_

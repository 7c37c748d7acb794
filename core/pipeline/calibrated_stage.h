// The stage of a job in which methods that need statistics choose codes: text
// runs through the network block by block, with the blocks before as they have
// become, and every block's codes go to a file of the work directory.
//
//   per block: inputs of its weights are seen -> codes -> the block runs again
//   with them, and what comes out goes into the next one
#ifndef QUANT_CORE_PIPELINE_CALIBRATED_STAGE_H_
#define QUANT_CORE_PIPELINE_CALIBRATED_STAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/pipeline/calibrated_codes.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/plan.h"

namespace quant {

struct CalibrationSummary {
  int64_t tensors = 0;
  int64_t rounded = 0;  // to nearest, for want of tokens or of a factor
  int64_t dead_columns = 0;
  int64_t scaled = 0;              // whose inputs were scaled
  int64_t blocks_resumed = 0;      // codes of an earlier attempt
  int64_t blocks_skipped = 0;      // of those, by the states kept behind them
  std::vector<std::string> notes;  // what was not as hoped, for people
};

// Fills `codes` with what is missing of output `output` of the plan. `model` is
// the viewed one.
absl::StatusOr<CalibrationSummary> RunCalibratedStage(
    const ModelReader& model, const Plan& plan, int output,
    const ExecuteOptions& options, const CalibratedCodes& codes);

// Bounds on the memory and on the disk that the stage takes.
struct CalibratedBounds {
  int64_t memory_bytes = 0;
  int64_t disk_bytes = 0;
};
absl::StatusOr<CalibratedBounds> BoundsOfCalibratedStage(
    const ModelReader& model, const Plan& plan, int output, int threads);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_CALIBRATED_STAGE_H_

// What running text through the model adds to a plan's bounds.
#ifndef QUANT_CORE_PIPELINE_TEXT_BOUNDS_H_
#define QUANT_CORE_PIPELINE_TEXT_BOUNDS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"

namespace quant {

// Whether the output's calibration text is run, by whatever stage.
bool RunsText(const OutputPlan& output);

// To the bounds of `plan`; `base_bytes`: of memory that is taken all the time.
absl::Status AddTextBounds(const ModelReader& source, int threads,
                           int64_t base_bytes, Plan& plan);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_TEXT_BOUNDS_H_

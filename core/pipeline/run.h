// A planned job, carried out: once, or again and again with better schemes
// while a gate fails.
#ifndef QUANT_CORE_PIPELINE_RUN_H_
#define QUANT_CORE_PIPELINE_RUN_H_

#include "absl/status/statusor.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/plan.h"

namespace quant {

// Execute of `plan`, which `request` asked for. With request.escalate, while
// an output misses a gate that larger schemes may pass and something is left
// to be raised (escalate.h), it is done again with that. Steps are kept in the
// work directory, so that a later attempt goes on with the last one. Errors of
// Execute.
absl::StatusOr<ExecuteResult> RunPlanned(const ModelReader& model,
                                         const PlanRequest& request,
                                         const Plan& plan,
                                         const ExecuteOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_RUN_H_

// What a job has to know of the inputs of weights besides what methods look at:
// scales of static activations, and importance for block types of GGUF. Text
// runs through the source once, for all outputs, before anything else.
#ifndef QUANT_CORE_PIPELINE_INPUT_SURVEY_H_
#define QUANT_CORE_PIPELINE_INPUT_SURVEY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/pass_bounds.h"
#include "core/pipeline/plan.h"

namespace quant {

// Whether the request would weigh errors by what calibration text shows: GGUF
// types, without an importance matrix from elsewhere; and whether it has one.
bool WeighsByText(const OutputRequest& request);
bool MeasuresImportance(const OutputRequest& request);

// Whether the request's schemes have static activations.
bool HasStaticInputs(const OutputRequest& request);

bool NeedsSurvey(const OutputPlan& output);

absl::StatusOr<PassBounds> BoundsOfSurvey(const ModelReader& source,
                                          const OutputRequest& request,
                                          int threads);

struct SurveyResult {
  int64_t unseen = 0;  // weights with static activations that met no token
  std::vector<std::string> notes;
};

// Fills in what `plan` lacks: TensorPlan::inputs and
// OutputRequest::measured_importance. `source` is the planned model. What text
// showed is kept in `file` for later attempts.
absl::StatusOr<SurveyResult> SurveyInputs(const ModelReader& source,
                                          const std::string& file,
                                          const ExecuteOptions& options,
                                          Plan& plan);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_INPUT_SURVEY_H_

#include "core/pipeline/text_bounds.h"

#include <algorithm>
#include <utility>

#include "core/base/status_macros.h"
#include "core/pipeline/calibrated_stage.h"
#include "core/pipeline/input_survey.h"

namespace quant {
namespace {

bool HasCalibrated(const OutputPlan& output) {
  return std::any_of(
      output.tensors.begin(), output.tensors.end(),
      [](const TensorPlan& tensor) { return tensor.calibrated; });
}

}  // namespace

bool RunsText(const OutputPlan& output) {
  return HasCalibrated(output) || NeedsSurvey(output);
}

absl::Status AddTextBounds(const ModelReader& source, int threads,
                           int64_t base_bytes, Plan& plan) {
  const ModelReader& model = ViewedModel(source, plan);
  bool surveyed = false;  // once for all outputs
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const OutputRequest& request = plan.outputs[i].request;
    if (!RunsText(plan.outputs[i])) continue;
    int64_t most = request.calibration->memory_bytes;
    if (NeedsSurvey(plan.outputs[i]) && !std::exchange(surveyed, true)) {
      QUANT_ASSIGN_OR_RETURN(const PassBounds bounds,
                             BoundsOfSurvey(source, request, threads));
      plan.disk_bound_bytes += bounds.disk_bytes;
      most = std::max(most, bounds.memory_bytes);
    }
    if (HasCalibrated(plan.outputs[i])) {
      QUANT_ASSIGN_OR_RETURN(
          const CalibratedBounds bounds,
          BoundsOfCalibratedStage(model, plan, static_cast<int>(i), threads));
      plan.disk_bound_bytes += bounds.disk_bytes;
      most = std::max(most, bounds.memory_bytes);
    }
    plan.memory_bound_bytes =
        std::max(plan.memory_bound_bytes, base_bytes + most);
  }
  return absl::OkStatus();
}

}  // namespace quant

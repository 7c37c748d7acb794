// Protos in, core types out. The only core room that knows protobuf; server and
// client meet the core through these headers.
#ifndef QUANT_CORE_RECIPE_RECIPE_H_
#define QUANT_CORE_RECIPE_RECIPE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/plan.h"
#include "core/pipeline/request.h"
#include "core/pipeline/request_files.h"
#include "quant/v1/job.pb.h"
#include "quant/v1/plan.pb.h"
#include "quant/v1/recipe.pb.h"

namespace quant {

// Checks a spec's outputs and gates against the registry; the source is not
// looked at. Errors carry the field ("outputs[0].recipe.scheme").
absl::StatusOr<PlanRequest> ToPlanRequest(const v1::JobSpec& spec, int threads);

// What a spec says of its calibration text, which was found at `path`.
TextSource CalibrationOf(const v1::JobSpec& spec, const std::string& path);
// The same of its evaluation text.
TextSource EvaluationOf(const v1::JobSpec& spec, const std::string& path);

// The same spec with defaults filled in (output names, method, format), so that
// equal requests are equal bytes under deterministic serialization.
absl::StatusOr<v1::JobSpec> CanonicalSpec(const v1::JobSpec& spec);

v1::JobPlan PlanToProto(const ModelReader& model, const Plan& plan);

// A recipe file in YAML or JSON: a RecipeFile, or a bare Recipe. Unknown keys
// are errors that name the key, its line and the nearest known key.
absl::StatusOr<v1::RecipeFile> ParseRecipeFile(absl::string_view text);

// "min_sqnr_db >= 18", "size_bytes<=5e9", "size_bytes <= 4.6GB".
absl::StatusOr<v1::Gate> ParseGate(absl::string_view text);
std::string GateToString(const v1::Gate& gate);
// "size_bytes", "min_sqnr_db", "kl_mean", ...
std::vector<std::string> GateMetrics();
// One verdict per gate and output it applies to.
std::vector<v1::GateResult> EvaluateGates(const v1::JobSpec& spec,
                                          const ExecuteResult& result);
// What was raised because gates failed, output by output.
std::vector<v1::EscalationStep> EscalationOf(const ExecuteResult& result);

}  // namespace quant

#endif  // QUANT_CORE_RECIPE_RECIPE_H_

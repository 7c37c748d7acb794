// The parts of a recipe that describe numbers, for jobs and for single tensors.
#ifndef QUANT_CORE_RECIPE_SCHEME_PROTO_H_
#define QUANT_CORE_RECIPE_SCHEME_PROTO_H_

#include "absl/status/statusor.h"
#include "core/codec/scheme.h"
#include "core/method/method.h"
#include "core/pipeline/gates.h"
#include "core/transform/load_rows.h"
#include "quant/v1/job.pb.h"
#include "quant/v1/recipe.pb.h"

namespace quant {

// The preset with the recipe's granularity and symmetry. Errors name the field
// within the recipe ("scheme", "group_size").
absl::StatusOr<Scheme> SchemeOf(const v1::Recipe& recipe);
absl::StatusOr<ScaleRule> ScaleRuleOf(const v1::Recipe& recipe);
absl::StatusOr<SearchLevel> SearchLevelOf(const v1::Recipe& recipe);
absl::StatusOr<Nonfinite> NonfiniteOf(const v1::Recipe& recipe);

// Gates of a spec: known metrics, comparisons, outputs that exist.
absl::Status CheckGates(const v1::JobSpec& spec);
// A gate that CheckGates found right.
Gate GateOf(const v1::Gate& gate);

}  // namespace quant

#endif  // QUANT_CORE_RECIPE_SCHEME_PROTO_H_

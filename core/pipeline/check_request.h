// What of a request can be refused before the model is looked at.
#ifndef QUANT_CORE_PIPELINE_CHECK_REQUEST_H_
#define QUANT_CORE_PIPELINE_CHECK_REQUEST_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/codec/scheme.h"
#include "core/pipeline/request.h"

namespace quant {

// Schemes, methods, formats and loaders that exist and go together. Fields of
// errors are as in "outputs[0].recipe.format".
absl::Status CheckRequest(const PlanRequest& request);

// `scheme` as a calibrated method stores it: groups may be of columns in
// another order than the weight's.
Scheme WithGroups(const OutputRequest& request, Scheme scheme);

// The preset that does at run time what static `activations` need text for.
absl::string_view DynamicTwin(Activations activations);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_CHECK_REQUEST_H_

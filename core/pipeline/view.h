// The source as the outputs' formats want to see it.
#ifndef QUANT_CORE_PIPELINE_VIEW_H_
#define QUANT_CORE_PIPELINE_VIEW_H_

#include <memory>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/pipeline/request.h"

namespace quant {

// A reader of `source` under the names of the requested formats, or null when
// they are its own. Refers to `source`. INVALID_ARGUMENT when formats of one
// request disagree: tensors are read once for all outputs.
absl::StatusOr<std::shared_ptr<const ModelReader>> MakeView(
    const ModelReader& source, const PlanRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_VIEW_H_

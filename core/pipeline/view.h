// The source as the outputs' formats want to see it.
#ifndef QUANT_CORE_PIPELINE_VIEW_H_
#define QUANT_CORE_PIPELINE_VIEW_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"

namespace quant {

struct ModelView {
  // Null when the outputs' names are the source's. Refers to the source.
  std::shared_ptr<const ModelReader> model;
  // Source tensors that the view doesn't show, and why.
  std::vector<DroppedTensor> dropped;
};

// `source` under the names of the requested formats. INVALID_ARGUMENT when
// formats of one request disagree: tensors are read once for all outputs.
absl::StatusOr<ModelView> MakeView(const ModelReader& source,
                                   const PlanRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_VIEW_H_

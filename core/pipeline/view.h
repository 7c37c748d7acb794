// The source as the outputs' formats want to see it.
#ifndef QUANT_CORE_PIPELINE_VIEW_H_
#define QUANT_CORE_PIPELINE_VIEW_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/quantized_model.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"

namespace quant {

struct ModelView {
  // Null when the source is what the formats want. Refers to the source.
  std::shared_ptr<const ModelReader> model;
  // The same, when its codes are to be carried over; else null.
  const QuantizedModel* codes = nullptr;
  // Source tensors that the view doesn't show, and why.
  std::vector<DroppedTensor> dropped;
};

// `source` under the names of the requested formats. INVALID_ARGUMENT when
// outputs of one request want different ones: tensors are read once for all of
// them. FAILED_PRECONDITION PLAN_REFUSED when there are no codes to carry over.
absl::StatusOr<ModelView> MakeView(const ModelReader& source,
                                   const PlanRequest& request);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_VIEW_H_

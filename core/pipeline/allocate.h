// Size targets: a scheme for every tensor, so that the artifact is no larger
// than asked for and the error is the least there is.
#ifndef QUANT_CORE_PIPELINE_ALLOCATE_H_
#define QUANT_CORE_PIPELINE_ALLOCATE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/thread_pool.h"
#include "core/pipeline/decide.h"
#include "core/pipeline/plan.h"

namespace quant {

// Pointers must outlive the call.
struct AllocationRequest {
  const ModelReader* model = nullptr;
  const std::vector<TensorRole>* roles = nullptr;
  const OutputRequest* request = nullptr;  // with a target
  const ArtifactFormat* format = nullptr;
  // As without a target: those by default may change.
  std::vector<Decision> decisions;
  // The plan that follows from decisions, with exact sizes.
  std::function<absl::StatusOr<OutputPlan>(const std::vector<Decision>&)>
      lay_out;
  ThreadPool* pool = nullptr;  // null: works on the calling thread
};

// FAILED_PRECONDITION PLAN_REFUSED for a target that can't be met, with the
// smallest size there is, and for one that needs nothing to be done.
absl::StatusOr<OutputPlan> PlanForTarget(AllocationRequest request);

// Bound on the memory that this takes for a model whose names, with what
// belongs to each, take `names_bytes`.
int64_t AllocationBytes(int64_t names_bytes);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_ALLOCATE_H_

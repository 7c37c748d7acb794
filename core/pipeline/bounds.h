// How much memory and disk a plan takes at most.
#ifndef QUANT_CORE_PIPELINE_BOUNDS_H_
#define QUANT_CORE_PIPELINE_BOUNDS_H_

#include "absl/status/status.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"

namespace quant {

// Sets the bounds and source_bytes of a plan that is complete otherwise.
absl::Status AddBounds(const ModelReader& source, int threads, Plan& plan);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_BOUNDS_H_

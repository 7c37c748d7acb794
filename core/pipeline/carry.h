// What becomes of the tensors of a quantized model whose codes are carried over
// to another format as they are.
#ifndef QUANT_CORE_PIPELINE_CARRY_H_
#define QUANT_CORE_PIPELINE_CARRY_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/quantized_model.h"
#include "core/pipeline/decide.h"
#include "core/pipeline/request.h"

namespace quant {

// One decision per tensor of `model`, which shows codes. Reads scales, zero
// points and groups of columns. Where every zero point of the model is the
// middle one, the integers are symmetric. FAILED_PRECONDITION PLAN_REFUSED,
// with the formats that carry it, for what `format` can't say without changing
// a number: all of it listed.
absl::StatusOr<std::vector<Decision>> DecideCarried(
    const QuantizedModel& model, const std::vector<TensorRole>& roles,
    const OutputRequest& request, const ArtifactFormat& format);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_CARRY_H_

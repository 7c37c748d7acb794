// What one output does with each tensor of a model, and why.
#ifndef QUANT_CORE_PIPELINE_DECIDE_H_
#define QUANT_CORE_PIPELINE_DECIDE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/format.h"
#include "core/container/model_reader.h"
#include "core/pipeline/request.h"

namespace quant {

struct Decision {
  bool quantized = false;
  Scheme scheme = {};  // when quantized
  std::string reason;  // never empty
  // No rule asked for this scheme: a size target may choose another one.
  bool by_default = false;
};

// One decision per tensor of the model. INVALID_ARGUMENT for rules that match
// nothing; FAILED_PRECONDITION PLAN_REFUSED for shapes that don't fit and
// merged modules that disagree, all of them listed.
absl::StatusOr<std::vector<Decision>> DecideTensors(
    const ModelReader& model, const std::vector<TensorRole>& roles,
    const OutputRequest& request, const ArtifactFormat& format);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_DECIDE_H_

// What the policy of GGUF file types asks of a model, from its keys.
#ifndef QUANT_CORE_ARTIFACT_GGUF_FACTS_H_
#define QUANT_CORE_ARTIFACT_GGUF_FACTS_H_

#include "absl/status/statusor.h"
#include "core/architecture/gguf_policy.h"
#include "core/container/model_reader.h"

namespace quant {

// DATA_LOSS MODEL_MALFORMED for keys that are missing or of the wrong type.
absl::StatusOr<GgufModelFacts> GgufFacts(const ModelReader& model);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_GGUF_FACTS_H_

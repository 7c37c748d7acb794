// Which modules of a quantized model round their inputs when a loader runs it.
#ifndef QUANT_CORE_ARTIFACT_INPUT_ROUNDINGS_H_
#define QUANT_CORE_ARTIFACT_INPUT_ROUNDINGS_H_

#include "absl/status/statusor.h"
#include "core/codec/activations.h"
#include "core/container/model_reader.h"

namespace quant {

// By the model's quantization_config; static scales are read from its tensors.
// Empty when it quantizes no activations. Errors of ReadQuantSettings and
// FindStoredWeights; FAILED_PRECONDITION UNSUPPORTED for activations of another
// kind than Activations has, DATA_LOSS MODEL_MALFORMED for scales that are
// missing or can't be.
absl::StatusOr<InputRoundings> ReadInputRoundings(const ModelReader& model);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_INPUT_ROUNDINGS_H_

// The parts of config.json that matter to a quantizer.
#ifndef QUANT_CORE_ARCHITECTURE_MODEL_CONFIG_H_
#define QUANT_CORE_ARCHITECTURE_MODEL_CONFIG_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

struct ModelConfig {
  std::string architecture;  // architectures[0]; may be empty
  std::string model_type;    // may be empty
  std::string torch_dtype;   // "bfloat16", ... ("dtype" in newer files)
  bool tie_word_embeddings = false;
  // "quant_method" of a quantization_config that is already there; "unknown"
  // when it names none; empty when there is none.
  std::string quant_method;
};

// Empty text is an empty config. DATA_LOSS MODEL_MALFORMED when it is not a
// JSON object or a key has the wrong type.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_MODEL_CONFIG_H_

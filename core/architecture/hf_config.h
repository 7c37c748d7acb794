// config.json for a GGUF file: the inverse of gguf_metadata.h. Numbers stand in
// the file's keys; what loaders of GGUF files have built in for a family is
// written out.
#ifndef QUANT_CORE_ARCHITECTURE_HF_CONFIG_H_
#define QUANT_CORE_ARCHITECTURE_HF_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/container/gguf_value.h"
#include "core/container/model_reader.h"

namespace quant {

// What a config is made of. Refers to the model.
struct GgufCheckpoint {
  absl::Span<const GgufKv> kvs;
  absl::Span<const TensorEntry> tensors;
  // Values of rope_freqs, rope_factors_long and rope_factors_short; empty where
  // the file has no such tensor.
  std::vector<float> rope_freqs = {};
  std::vector<float> long_factors = {};
  std::vector<float> short_factors = {};
};

struct HfConfig {
  std::string json;
  std::vector<std::string> notes;  // what has no place in it, for people
};

// INVALID_ARGUMENT UNSUPPORTED for families that are not in families.def
// (naming the nearest) and for keys that no config.json of the family can say;
// DATA_LOSS MODEL_MALFORMED for keys that are missing or of other types.
absl::StatusOr<HfConfig> MakeHfConfig(const GgufCheckpoint& model);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_HF_CONFIG_H_

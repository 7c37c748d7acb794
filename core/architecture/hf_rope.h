// How positions are rotated, in the words of config.json: the inverse of what
// gguf_metadata.cc and gguf_names.cc make of rope_scaling.
#ifndef QUANT_CORE_ARCHITECTURE_HF_ROPE_H_
#define QUANT_CORE_ARCHITECTURE_HF_ROPE_H_

#include <cstdint>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/gguf_keys.h"
#include "core/architecture/hf_config.h"

namespace quant {

// What is known of the model before.
struct HfRopeSizes {
  Family family = kLlama;
  int64_t head_dim = 0;
  int64_t context = 0;
};

// Sets rope_theta, rope_scaling (null for none) and the keys of the family that
// belong to them. Reads the architecture's rope.* keys. INVALID_ARGUMENT
// UNSUPPORTED for rotations that config.json has no words for.
absl::Status AddHfRope(const GgufCheckpoint& model, const HfRopeSizes& sizes,
                       GgufKeys& keys, nlohmann::ordered_json& config);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_HF_ROPE_H_

// Rotary position embeddings: what config.json says of them, and the factors
// that loaders of GGUF files take as tensors.
#ifndef QUANT_CORE_ARCHITECTURE_ROPE_CONFIG_H_
#define QUANT_CORE_ARCHITECTURE_ROPE_CONFIG_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/architecture/config_object.h"
#include "core/architecture/decoder_config.h"

namespace quant {

// Reads the old form (rope_theta, rope_scaling) and the new (rope_parameters,
// perhaps one per type of layer). `decoder` has its sizes already.
absl::StatusOr<RopeConfig> ReadRope(const ConfigObject& config,
                                    const DecoderConfig& decoder);

// kLlama3: what frequency j of dims / 2 is divided by. With the wavelength
// l = 2 pi theta^(2j / dims) and L the original context:
//   l < L / high: 1    l > L / low: factor
//   else 1 / ((1 - s) / factor + s), s = (L / l - low) / (high - low)
// Source: "The Llama 3 Herd of Models" models' reference code, use_scaled_rope.
std::vector<float> Llama3FrequencyFactors(const RopeConfig& rope);

// What yarn and longrope multiply cosines and sines by, beyond what loaders
// compute themselves: longrope sqrt(1 + ln(s) / ln(L)), s = context / L; yarn
// 1, unless the config gives a number.
double RopeAttentionFactor(const RopeConfig& rope, int64_t context);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_ROPE_CONFIG_H_

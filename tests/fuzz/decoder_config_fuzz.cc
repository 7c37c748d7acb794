// config.json of a decoder. Numbers that are accepted fit together.
#include <cmath>

#include "core/architecture/decoder_config.h"
#include "core/architecture/gguf_metadata.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

void DecoderConfig(absl::string_view bytes) {
  const auto config = ParseDecoderConfig(bytes);
  if (!config.ok()) {
    const Reason reason = GetReason(config.status());
    QUANT_FUZZ_CHECK(
        reason == Reason::kModelMalformed || reason == Reason::kUnsupported ||
        reason == Reason::kSourceMissing || reason == Reason::kUnknownName);
    QUANT_FUZZ_CHECK(config.status().message().size() < 4096);
    return;
  }
  QUANT_FUZZ_CHECK(config->layers >= 1 && config->layers <= kMaxLayers);
  QUANT_FUZZ_CHECK(config->heads % config->kv_heads == 0);
  QUANT_FUZZ_CHECK(config->head_dim >= 2 && config->head_dim % 2 == 0);
  QUANT_FUZZ_CHECK(config->heads * config->head_dim <= kMaxRowElements);
  QUANT_FUZZ_CHECK(config->rope.dims >= 2 &&
                   config->rope.dims <= config->head_dim);
  for (const GgufKv& kv : GgufConfigKvs(*config)) {
    const float* number = std::get_if<float>(&kv.value);
    QUANT_FUZZ_CHECK(number == nullptr || std::isfinite(*number));
  }
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::DecoderConfig)

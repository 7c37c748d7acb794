// "quantization_config" of a config.json. What is accepted names a format, and
// numbers within their bounds.
#include "core/artifact/format.h"
#include "core/artifact/quant_settings.h"
#include "core/base/error.h"
#include "tests/fuzz/memory_model.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

void QuantSettings(absl::string_view bytes) {
  const MemoryModel model{std::string(bytes)};
  const auto settings = ReadQuantSettings(model);
  if (!settings.ok()) {
    const Reason reason = GetReason(settings.status());
    QUANT_FUZZ_CHECK(reason == Reason::kModelMalformed ||
                     reason == Reason::kUnsupported);
    QUANT_FUZZ_CHECK(settings.status().message().size() < 4096);
    return;
  }
  if (settings->format.empty()) return;
  QUANT_FUZZ_CHECK(FindFormat(settings->format).ok());
  for (int bits : settings->bits) QUANT_FUZZ_CHECK(bits >= 1 && bits <= 8);
  QUANT_FUZZ_CHECK(settings->block_rows >= 0 && settings->block_cols >= 0);
  QUANT_FUZZ_CHECK((settings->block_rows > 0) == (settings->block_cols > 0));
  QUANT_FUZZ_CHECK(settings->also_quantized.size() < 256);
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::QuantSettings)

#include "core/pipeline/pass_bounds.h"

#include <algorithm>

namespace quant {
namespace {

// What products pack for themselves, per thread.
constexpr int64_t kProductBytes = int64_t{24} << 20;
constexpr int64_t kFloatBytes = sizeof(float);

// Rows of floats of one batch of sequences, in every buffer that a block holds
// at the same time.
int64_t BatchBytes(const NetworkConfig& config, int64_t length) {
  const int64_t rows = SequencesPerBatch(length) * length;
  const int64_t width = std::max(
      config.intermediate, config.experts > 0 ? config.expert_intermediate : 0);
  const int64_t of_attention = config.qkv_width() + config.q_width();
  const int64_t of_experts =
      config.experts > 0 ? 2 * config.hidden + config.experts : 0;
  const int64_t columns =
      4 * config.hidden + of_experts + std::max(of_attention, 3 * width);
  // Shares of the tokens that experts get, and queries of attention's tiles.
  return rows * (columns * kFloatBytes +
                 config.experts_per_token * static_cast<int64_t>(16));
}

int64_t BlockElements(const NetworkConfig& config) {
  const int64_t h = config.hidden;
  const int64_t attention = h * (config.qkv_width() + config.q_width());
  const int64_t experts =
      config.experts * (3 * h * config.expert_intermediate + h);
  return attention + std::max(experts, 3 * h * config.intermediate) + 4 * h;
}

}  // namespace

PassBounds BoundsOfPasses(const NetworkConfig& config,
                          const Sequences& sequences, int threads) {
  const int64_t tokens = static_cast<int64_t>(sequences.tokens.size());
  const int64_t hidden = tokens * config.hidden * kFloatBytes;
  const int64_t scores = 64 * sequences.length * kFloatBytes;
  const int64_t ropes = 4 * sequences.length * config.head_dim * kFloatBytes;
  return {.memory_bytes = BlockElements(config) * kFloatBytes +
                          std::min(hidden, kHiddenBytes) +
                          BatchBytes(config, sequences.length) + ropes +
                          threads * (scores + kProductBytes) + tokens * 4,
          .disk_bytes = hidden > kHiddenBytes ? hidden : 0};
}

}  // namespace quant

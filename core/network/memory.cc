#include "core/network/memory.h"

#include <algorithm>

#include "core/network/network.h"

namespace quant {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);
constexpr int64_t kProductBytes = int64_t{24} << 20;

}  // namespace

int64_t BlockBytes(const NetworkConfig& config) {
  const int64_t h = config.hidden;
  const int64_t attention = h * (config.qkv_width() + config.q_width());
  const int64_t experts =
      config.experts * (3 * h * config.expert_intermediate + h);
  return kFloatBytes *
         (attention + std::max(experts, 3 * h * config.intermediate) + 4 * h);
}

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
                 config.experts_per_token * static_cast<int64_t>(16)) +
         4 * length * config.head_dim * kFloatBytes;
}

int64_t ThreadBytes(int64_t length) {
  return 64 * length * kFloatBytes + kProductBytes;
}

int64_t HeadBytes(const NetworkConfig& config) {
  return (config.vocabulary + 1) * config.hidden * kFloatBytes;
}

}  // namespace quant

#include "core/pipeline/pass_bounds.h"

#include <algorithm>

#include "core/network/memory.h"

namespace quant {

PassBounds BoundsOfPasses(const NetworkConfig& config,
                          const Sequences& sequences, int threads) {
  const int64_t tokens = static_cast<int64_t>(sequences.tokens.size());
  const int64_t hidden =
      tokens * config.hidden * static_cast<int64_t>(sizeof(float));
  return {.memory_bytes = BlockBytes(config) + std::min(hidden, kHiddenBytes) +
                          BatchBytes(config, sequences.length) +
                          threads * ThreadBytes(sequences.length) + tokens * 4,
          .disk_bytes = hidden > kHiddenBytes ? hidden : 0,
          .kept_bytes = BytesOfKept(hidden)};
}

}  // namespace quant

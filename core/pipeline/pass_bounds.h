// Bounds on what it takes to run text through a network block by block, before
// anything is kept of what its inputs look like.
#ifndef QUANT_CORE_PIPELINE_PASS_BOUNDS_H_
#define QUANT_CORE_PIPELINE_PASS_BOUNDS_H_

#include <cstdint>

#include "core/network/network.h"

namespace quant {

// Hidden states beyond this go to a file of the work directory.
inline constexpr int64_t kHiddenBytes = int64_t{256} << 20;

struct PassBounds {
  int64_t memory_bytes = 0;
  int64_t disk_bytes = 0;
  int64_t kept_bytes = 0;  // of disk, where states are kept (keep_for.h)
};

PassBounds BoundsOfPasses(const NetworkConfig& config,
                          const Sequences& sequences, int threads);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_PASS_BOUNDS_H_

// Bounds on the memory of forward passes.
#ifndef QUANT_CORE_NETWORK_MEMORY_H_
#define QUANT_CORE_NETWORK_MEMORY_H_

#include <cstdint>

#include "core/network/config.h"

namespace quant {

// Weights of the largest block.
int64_t BlockBytes(const NetworkConfig& config);

// Rows of floats of one batch of sequences, in every buffer that a block holds
// at the same time, and the tables of positions. `length`: of a sequence.
int64_t BatchBytes(const NetworkConfig& config, int64_t length);

// Of each thread: scores of its tiles of attention, and what products pack for
// themselves.
int64_t ThreadBytes(int64_t length);

// The final norm and the head.
int64_t HeadBytes(const NetworkConfig& config);

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_MEMORY_H_

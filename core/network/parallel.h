// Independent pieces of work on all threads of a pool. Which thread does which
// is left to chance: no result may depend on it.
#ifndef QUANT_CORE_NETWORK_PARALLEL_H_
#define QUANT_CORE_NETWORK_PARALLEL_H_

#include <atomic>
#include <cstdint>

#include "core/base/thread_pool.h"

namespace quant {

// body(0) ... body(n - 1).
template <class Body>
void ParallelFor(ThreadPool& pool, int64_t n, const Body& body) {
  std::atomic<int64_t> next = 0;
  pool.RunOnAll([&](int) {
    for (int64_t i = next++; i < n; i = next++) body(i);
  });
}

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_PARALLEL_H_

// A JobStore without a disk: for tests, and as the twin that the durable
// backends are compared with. "Durable" means applied.
#ifndef QUANT_SERVER_QUEUE_MEMORY_JOB_STORE_H_
#define QUANT_SERVER_QUEUE_MEMORY_JOB_STORE_H_

#include <memory>

#include "core/base/clock.h"
#include "server/queue/job_store.h"

namespace quant {

// `clock` outlives the store.
std::unique_ptr<JobStore> MakeMemoryJobStore(
    const QueueOptions& options = {}, const Clock& clock = Clock::System());

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_MEMORY_JOB_STORE_H_

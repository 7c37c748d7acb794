// Small translations between what an attempt gave and what the queue and the
// store want to know.
#ifndef QUANT_SERVER_WORKER_OUTCOME_H_
#define QUANT_SERVER_WORKER_OUTCOME_H_

#include <string>

#include "absl/status/status.h"
#include "quant/worker/v1/attempt.pb.h"
#include "server/queue/job_store.h"
#include "server/store/artifact_store.h"

namespace quant {

// "succeeded", "crashed", ... for metrics and logs.
const char* OutcomeName(Outcome outcome);

// FAILED_PRECONDITION GATE_FAILED that names every gate that failed, with the
// value found; OK when all passed.
absl::Status GateError(const worker::v1::AttemptResult& result);

PublishRequest ToPublishRequest(const JobRecord& job,
                                const worker::v1::OutputResult& output,
                                bool gate_failed);

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_OUTCOME_H_

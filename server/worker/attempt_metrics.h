// What an attempt tells the server at its end.
#ifndef QUANT_SERVER_WORKER_ATTEMPT_METRICS_H_
#define QUANT_SERVER_WORKER_ATTEMPT_METRICS_H_

#include "core/pipeline/execute.h"
#include "quant/v1/job.pb.h"
#include "quant/worker/v1/attempt.pb.h"

namespace quant {

// Files, metrics and verdicts. Metrics of the job: sizes are added up over its
// outputs, qualities are those of the worst; with several outputs each one's
// own follow as "{output}/{metric}".
worker::v1::AttemptResult ToAttemptResult(const v1::JobSpec& spec,
                                          const ExecuteResult& result,
                                          double seconds);

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_ATTEMPT_METRICS_H_

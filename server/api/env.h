// What every handler works with.
#ifndef QUANT_SERVER_API_ENV_H_
#define QUANT_SERVER_API_ENV_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "core/base/clock.h"
#include "server/api/streams.h"
#include "server/auth/authenticator.h"
#include "server/auth/limiter.h"
#include "server/planner/executor.h"
#include "server/planner/planner.h"
#include "server/queue/job_store.h"
#include "server/store/artifact_store.h"
#include "server/store/job_logs.h"
#include "server/store/upload_store.h"
#include "server/telemetry/metrics.h"

namespace quant {

struct ApiOptions {
  // Secret of this data directory; makes page tokens tamper-evident.
  std::string page_token_key;
  // Attempts that a new job may have.
  int max_attempts = 5;
  // How long ended jobs are kept that say nothing of it, as long as the server
  // lives; 0, or null: for ever.
  const std::atomic<int64_t>* retention_micros = nullptr;
  // What all attempts together may take; 0: no limit.
  int64_t memory_limit_bytes = 0;
  // A watch is never silent for longer.
  int64_t heartbeat_micros = 15'000'000;
  // A watcher that takes nothing for so long, while more than 64 durable events
  // wait, is closed.
  int64_t slow_consumer_micros = 30'000'000;
  // A watch that is older is ended with STREAM_RECYCLED, so that connections
  // can be moved.
  int64_t watch_max_age_micros = int64_t{25} * 60 * 1'000'000;
  // An upload that sends nothing for so long gives its blob free.
  int64_t write_idle_micros = 60'000'000;
  // A download that takes nothing for so long is ended.
  int64_t read_stall_micros = 300'000'000;
};

// All of it outlives the gRPC server.
struct ApiEnv {
  JobStore& jobs;
  ArtifactStore& artifacts;
  UploadStore& uploads;
  JobLogs& logs;
  Planner& planner;
  Executor& io;       // reads of stores and files
  Executor& compute;  // plans, inspections, tensors
  Streams& streams;
  Metrics& metrics;
  const Clock& clock;
  ApiOptions options;
  // Null: whoever connects may do everything.
  const Authenticator* authenticator = nullptr;
  // Null: nobody is limited.
  Limiter* limiter = nullptr;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_ENV_H_

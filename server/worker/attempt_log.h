// What one attempt adds to its job's log while it runs: stages, progress now
// and then, and lines of the child. Private to server/worker.
#ifndef QUANT_SERVER_WORKER_ATTEMPT_LOG_H_
#define QUANT_SERVER_WORKER_ATTEMPT_LOG_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "quant/v1/job.pb.h"
#include "quant/worker/v1/attempt.pb.h"
#include "server/store/job_logs.h"

namespace quant {

class AttemptLog {
 public:
  // `writer` outlives it.
  explicit AttemptLog(JobLogs::Writer& writer) : writer_(writer) {}

  void Progress(const v1::Progress& progress);
  // Of a process that may be in the hands of a stranger's file: bounded, and
  // in the name of nobody else.
  void Line(const worker::v1::LogLine& line);
  void Stopping(absl::string_view why);

 private:
  JobLogs::Writer& writer_;
  std::string stage_;
  int64_t last_progress_ = 0;
  int lines_ = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_WORKER_ATTEMPT_LOG_H_

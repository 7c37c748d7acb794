// A job's log: what happened to it, a JSON object per line.
#ifndef QUANT_CLIENT_LIBRARY_JOB_LOG_H_
#define QUANT_CLIENT_LIBRARY_JOB_LOG_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/library/client.h"

namespace quant {

struct JobLogOptions {
  // Until the job has ended; else what is there now.
  bool follow = false;
  // Bytes of the log that are known already.
  int64_t offset = 0;
  std::stop_token stop;
  // A stream that carries nothing for so long, not even a sign of life, is cut
  // and taken up again.
  std::chrono::milliseconds silence{60'000};
};

// Gives the log of `job` ("jobs/{id}") to `sink`, in pieces that end anywhere.
// A cut connection is taken up at the byte where it ended. Answers how many
// bytes the log has so far. NOT_FOUND JOB_NOT_FOUND. OUT_OF_RANGE for an offset
// past the end of a job that has ended. CANCELLED after a stop.
absl::StatusOr<int64_t> ReadJobLog(
    Client& client, const std::string& job, const JobLogOptions& options,
    const std::function<void(absl::string_view)>& sink);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_JOB_LOG_H_

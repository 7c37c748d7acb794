// Following a job to its end, across lost connections and server restarts.
#ifndef QUANT_CLIENT_LIBRARY_WATCH_H_
#define QUANT_CLIENT_LIBRARY_WATCH_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "client/library/client.h"
#include "quant/v1/job.pb.h"
#include "quant/v1/job_service.pb.h"

namespace quant {

// Called for every message of the stream, on the calling thread, heartbeats
// excepted unless they tell a place in the queue. Durable events (state,
// attempt, gate, artifact) come exactly once and in order, however often the
// stream was cut; a SNAPSHOT may come again when the server no longer keeps the
// events in between.
using WatchCallback = std::function<void(const v1::WatchJobResponse&)>;

struct WatchOptions {
  // The last durable sequence already seen; 0: begin with a snapshot.
  int64_t after_sequence = 0;
  // Reconnect after so long without any message. The server sends a heartbeat
  // at least every 15 s.
  std::chrono::milliseconds silence{45'000};
  // Stops following; the job goes on.
  std::stop_token stop;
};

// Returns the job once it is terminal, whether it succeeded or not: look at its
// state. Reattaches by itself, by sequence number, after UNAVAILABLE, silence
// and SEQUENCE_IN_FUTURE (a server restored from a backup).
//
// CANCELLED when `stop` was requested. NOT_FOUND for an unknown job.
// UNAVAILABLE when the server could not be reached for
// ClientOptions::retry_for.
absl::StatusOr<v1::Job> Watch(Client& client, const std::string& name,
                              const WatchOptions& options = {},
                              const WatchCallback& callback = nullptr);

// As Watch, for at most `timeout`: DEADLINE_EXCEEDED after it. The job goes on.
absl::StatusOr<v1::Job> Wait(Client& client, const std::string& name,
                             std::chrono::milliseconds timeout,
                             WatchOptions options = {},
                             const WatchCallback& callback = nullptr);

// SUCCEEDED, FAILED or CANCELLED.
bool IsTerminal(v1::Job::State state);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_WATCH_H_

// Following a job with progress on stderr: what submit --wait and wait share.
#ifndef QUANT_CLIENT_CLI_FOLLOW_H_
#define QUANT_CLIENT_CLI_FOLLOW_H_

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/output.h"
#include "client/library/client.h"
#include "client/library/watch.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

struct FollowOptions {
  std::optional<std::chrono::milliseconds> timeout;
  // Ctrl-C cancels the job and waits for its end; else it detaches.
  bool cancel_on_interrupt = false;
  // " --server host:port" for the command that is printed on detaching.
  std::string server_flags;
  // For each message; nothing: draw progress.
  WatchCallback callback;
};

struct Followed {
  // The exit code of the job, of a timeout (7) or of Ctrl-C (130).
  int exit_code = 0;
  // Terminal; nothing when the wait ended before the job did.
  std::optional<v1::Job> job;
};

absl::StatusOr<Followed> FollowJob(Client& client, const std::string& name,
                                   const FollowOptions& options);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_FOLLOW_H_

// Exit codes: a contract for scripts and CI. One place decides them.
#ifndef QUANT_CLIENT_CLI_EXIT_CODE_H_
#define QUANT_CLIENT_CLI_EXIT_CODE_H_

#include "absl/status/status.h"
#include "quant/v1/job.pb.h"

namespace quant::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitOther = 1,
  kExitUsage = 2,
  kExitJobFailed = 3,   // by its model or its recipe
  kExitNotAllowed = 4,  // not authenticated, or not allowed
  kExitNotFound = 5,
  kExitCancelled = 6,
  kExitWaitTimeout = 7,  // the job goes on
  kExitQuota = 8,        // quota, queue or storage full
  kExitUnavailable = 9,  // server unavailable, after retries
  kExitDigestMismatch = 10,
  kExitInfrastructure = 11,  // a retry may help
  kExitGateFailed = 12,
  kExitInterrupted = 130,
};

// Of a command that could not do what it was asked to.
ExitCode ExitCodeOfStatus(const absl::Status& status);

// Of work that began and failed, here or on a server: what was wrong with it
// is no longer the command line's fault.
ExitCode ExitCodeOfFailure(const absl::Status& status);

// Of a terminal job.
ExitCode ExitCodeOfJob(const v1::Job& job);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_EXIT_CODE_H_

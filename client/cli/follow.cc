#include "client/cli/follow.h"

#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress.h"
#include "core/base/bytes.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

using v1::WatchJobResponse;

void ShowProgress(const v1::Progress& progress, ProgressMeter& meter) {
  meter.Show(progress.stage(), progress.fraction(),
             absl::StrCat(FormatBytes(progress.bytes_done()), " of ",
                          FormatBytes(progress.bytes_total()), "  ",
                          progress.tensor()));
}

void ShowState(const std::string& name, v1::Job::State state,
               const std::string& reason, ProgressMeter& meter) {
  meter.End();
  std::cerr << Printable(name) << ": " << v1::Job::State_Name(state)
            << (reason.empty() ? "" : " ") << Printable(reason) << "\n";
}

void ShowMessage(const std::string& name, const WatchJobResponse& message,
                 ProgressMeter& meter) {
  switch (message.kind()) {
    case WatchJobResponse::SNAPSHOT:
      ShowState(name, message.job().state(), message.job().state_reason(),
                meter);
      break;
    case WatchJobResponse::STATE:
      ShowState(name, message.state(), message.state_reason(), meter);
      break;
    case WatchJobResponse::PROGRESS:
      ShowProgress(message.progress(), meter);
      break;
    default:
      break;
  }
}

absl::StatusOr<v1::Job> WatchOrWait(Client& client, const std::string& name,
                                    const FollowOptions& options,
                                    std::stop_token stop) {
  ProgressMeter meter(name);
  WatchOptions watch;
  watch.stop = stop;
  WatchCallback callback = options.callback;
  if (!callback) {
    callback = [&](const WatchJobResponse& message) {
      ShowMessage(name, message, meter);
    };
  }
  return options.timeout ? Wait(client, name, *options.timeout, watch, callback)
                         : Watch(client, name, watch, callback);
}

void PrintDetached(const std::string& name, const FollowOptions& options,
                   const char* why) {
  std::cerr << "quantctl: " << why << "; the job goes on. To follow it again:\n"
            << "  quantctl wait " << Printable(name) << options.server_flags
            << "\n";
}

}  // namespace

absl::StatusOr<Followed> FollowJob(Client& client, const std::string& name,
                                   const FollowOptions& options) {
  InterruptScope interrupt;
  absl::StatusOr<v1::Job> job =
      WatchOrWait(client, name, options, interrupt.token());
  if (absl::IsDeadlineExceeded(job.status())) {
    PrintDetached(name, options, "timed out");
    return Followed{.exit_code = kExitWaitTimeout, .job = {}};
  }
  if (!job.ok() && WasInterrupted()) {
    if (!options.cancel_on_interrupt) {
      PrintDetached(name, options, "interrupted");
      return Followed{.exit_code = kExitInterrupted, .job = {}};
    }
    std::cerr << "quantctl: interrupted; cancelling " << Printable(name)
              << "\n";
    QUANT_RETURN_IF_ERROR(client.Cancel(name).status());
    FollowOptions patient = options;
    patient.timeout.reset();
    job = WatchOrWait(client, name, patient, {});
  }
  QUANT_RETURN_IF_ERROR(job.status());
  return Followed{.exit_code = ExitCodeOfJob(*job), .job = *job};
}

}  // namespace quant::cli

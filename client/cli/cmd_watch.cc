#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/follow.h"
#include "client/cli/job_output.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

using v1::WatchJobResponse;

std::string StateChange(v1::Job::State state, const std::string& reason) {
  return absl::StrCat(v1::Job::State_Name(state), reason.empty() ? "" : " ",
                      reason);
}

std::string EventText(const WatchJobResponse& event) {
  switch (event.kind()) {
    case WatchJobResponse::SNAPSHOT:
    case WatchJobResponse::FINAL:
      return event.job().has_queue()
                 ? absl::StrCat(StateText(event.job()), ", ",
                                QueueText(event.job().queue()))
                 : StateText(event.job());
    case WatchJobResponse::STATE:
      return StateChange(event.state(), event.state_reason());
    case WatchJobResponse::ATTEMPT:
      return absl::StrCat(event.attempt());
    case WatchJobResponse::GATE:
      return GateText(event.gate());
    case WatchJobResponse::ARTIFACT:
      return event.artifact();
    case WatchJobResponse::HEARTBEAT:
      return QueueText(event.queue());
    case WatchJobResponse::PROGRESS:
      return absl::StrFormat("%s %.0f %% %s", event.progress().stage(),
                             event.progress().fraction() * 100,
                             event.progress().tensor());
    default:
      return "";
  }
}

class Watch : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("job", job_, "jobs/ID, or ID")->required();
    app.add_option("--timeout", timeout_, "Watch at most so long, e.g. 30m");
    server_.Add(app);
    AddFormatFlag(app, format_);
    app.footer("-o json prints one event per line.");
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    FollowOptions options;
    options.server_flags = server_.ForCommandLine();
    options.callback = [this](const WatchJobResponse& event) { Print(event); };
    if (!timeout_.empty()) {
      QUANT_ASSIGN_OR_RETURN(options.timeout,
                             ParseDuration("--timeout", timeout_));
    }
    QUANT_ASSIGN_OR_RETURN(const Followed followed,
                           FollowJob(*client, FullName("jobs", job_), options));
    return followed.exit_code;
  }

 private:
  void Print(const WatchJobResponse& event) const {
    if (format_ == OutputFormat::kJson) return PrintJsonLine(event);
    if (format_ == OutputFormat::kYaml) {
      std::cout << "---\n";
      return PrintMessage(event, format_);
    }
    if (format_ == OutputFormat::kName) {
      std::cout << WatchJobResponse::Kind_Name(event.kind()) << std::endl;
      return;
    }
    std::cout << absl::StrFormat("%s  %4d  %-8s  ", TimeText(event.time()),
                                 event.sequence(),
                                 WatchJobResponse::Kind_Name(event.kind()))
              << Printable(EventText(event)) << std::endl;
  }

  std::string job_;
  std::string timeout_;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeWatch() { return std::make_unique<Watch>(); }

}  // namespace quant::cli

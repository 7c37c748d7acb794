#include "client/cli/command.h"
#include "client/cli/follow.h"
#include "client/cli/job_output.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Wait : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("job", job_, "jobs/ID, or ID")->required();
    app.add_option("--timeout", timeout_, "Wait at most so long, e.g. 30m");
    app.add_flag("--cancel-on-interrupt", cancel_on_interrupt_,
                 "Ctrl-C cancels the job instead of leaving it alone");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    FollowOptions options;
    if (!timeout_.empty()) {
      QUANT_ASSIGN_OR_RETURN(options.timeout,
                             ParseDuration("--timeout", timeout_));
    }
    options.cancel_on_interrupt = cancel_on_interrupt_;
    options.server_flags = server_.ForCommandLine();
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(const Followed followed,
                           FollowJob(*client, FullName("jobs", job_), options));
    if (followed.job) PrintJob(*followed.job, format_);
    return followed.exit_code;
  }

 private:
  std::string job_;
  std::string timeout_;
  bool cancel_on_interrupt_ = false;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeWait() { return std::make_unique<Wait>(); }

}  // namespace quant::cli

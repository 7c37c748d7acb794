// The commands that ask for another state of one job and show what it is now.
#include "client/cli/command.h"
#include "client/cli/job_output.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

using Change = absl::StatusOr<v1::Job> (Client::*)(const std::string& name,
                                                   const std::string& etag);

class ChangeJob : public Command {
 public:
  explicit ChangeJob(Change change) : change_(change) {}

  void AddFlags(CLI::App& app) override {
    app.add_option("job", job_, "jobs/ID, or ID")->required();
    app.add_option("--etag", etag_, "Only if the job still has this etag");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(
        const v1::Job job,
        (client.get()->*change_)(FullName("jobs", job_), etag_));
    PrintJob(job, format_);
    return 0;
  }

 private:
  const Change change_;
  std::string job_;
  std::string etag_;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeCancel() {
  return std::make_unique<ChangeJob>(&Client::Cancel);
}

std::unique_ptr<Command> MakeRetry() {
  return std::make_unique<ChangeJob>(&Client::Retry);
}

}  // namespace quant::cli

#include "client/cli/command.h"
#include "client/cli/job_output.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Get : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("job", job_, "jobs/ID, or ID")->required();
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(const v1::Job job,
                           client->Get(FullName("jobs", job_)));
    PrintJob(job, format_);
    return 0;
  }

 private:
  std::string job_;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeGet() { return std::make_unique<Get>(); }

}  // namespace quant::cli

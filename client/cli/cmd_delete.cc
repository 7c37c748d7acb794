#include <iostream>

#include "absl/strings/match.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Delete : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("name", name_, "jobs/ID (or ID), or artifacts/ID")
        ->required();
    app.add_option("--etag", etag_, "Only if the job still has this etag");
    server_.Add(app);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    const std::string name = FullName("jobs", name_);
    QUANT_RETURN_IF_ERROR(absl::StartsWith(name, "artifacts/")
                              ? client->DeleteArtifact(name)
                              : client->Delete(name, etag_));
    std::cerr << "quantctl: deleted " << Printable(name) << "\n";
    return 0;
  }

 private:
  std::string name_;
  std::string etag_;
  ServerFlags server_;
};

}  // namespace

std::unique_ptr<Command> MakeDelete() { return std::make_unique<Delete>(); }

}  // namespace quant::cli

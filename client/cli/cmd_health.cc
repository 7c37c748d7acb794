#include <iostream>

#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/server_flags.h"
#include "core/base/status_macros.h"

namespace quant::cli {
namespace {

class Health : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("service", service_,
                   "One service, e.g. quant.v1.JobService, which stops serving "
                   "first when the server drains");
    server_.Add(app);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(const bool serving, client->Health(service_));
    std::cout << (serving ? "SERVING" : "NOT_SERVING") << "\n";
    return serving ? kExitOk : kExitUnavailable;
  }

 private:
  std::string service_;
  ServerFlags server_;
};

}  // namespace

std::unique_ptr<Command> MakeHealth() { return std::make_unique<Health>(); }

}  // namespace quant::cli

#include <iostream>

#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/recipe/describe.h"

namespace quant::cli {
namespace {

class LoadersCommand : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("loader", name_, "One loader, e.g. vllm [all]");
    app.add_flag("--remote", remote_, "Ask the server");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    v1::Capabilities known;
    if (remote_) {
      QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                             server_.Connect());
      QUANT_ASSIGN_OR_RETURN(known, client->Capabilities());
    } else {
      known = DescribeCapabilities();
    }
    v1::Capabilities chosen;
    std::vector<std::string> names;
    for (const v1::Loader& loader : known.loaders()) {
      names.push_back(loader.name());
      if (name_.empty() || loader.name() == name_) {
        *chosen.add_loaders() = loader;
      }
    }
    if (chosen.loaders_size() == 0) {
      return UnknownNameError("loader", name_, names);
    }
    Print(chosen);
    return 0;
  }

 private:
  void Print(const v1::Capabilities& chosen) const {
    if (format_ == OutputFormat::kName) {
      for (const v1::Loader& loader : chosen.loaders()) {
        std::cout << Printable(loader.name()) << "\n";
      }
      return;
    }
    if (format_ != OutputFormat::kTable) return PrintMessage(chosen, format_);
    for (const v1::Loader& loader : chosen.loaders()) PrintLoader(loader);
  }

  static void PrintLoader(const v1::Loader& loader) {
    PrintFacts({{"loader", loader.name()},
                {"title", loader.title()},
                {"state", loader.state()},
                {"source", loader.source()}});
    Table rules({"FORMAT", "WHAT", "TAKES", "NOTE", "SOURCE"});
    for (const v1::LoaderRule& rule : loader.rules()) {
      rules.Add({rule.format(), rule.what(), rule.verdict(), rule.note(),
                 rule.source()});
    }
    rules.Print();
    std::cout << "\n";
  }

  std::string name_;
  bool remote_ = false;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeLoaders() {
  return std::make_unique<LoadersCommand>();
}

}  // namespace quant::cli

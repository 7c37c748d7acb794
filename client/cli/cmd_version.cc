#include <iostream>

#include "client/cli/command.h"
#include "core/base/version.h"

namespace quant::cli {
namespace {

class Version : public Command {
 public:
  void AddFlags(CLI::App& app) override {}

  absl::StatusOr<int> Run() override {
    std::cout << "quantctl " << kVersion << "\n";
    return 0;
  }
};

}  // namespace

std::unique_ptr<Command> MakeVersion() { return std::make_unique<Version>(); }

}  // namespace quant::cli

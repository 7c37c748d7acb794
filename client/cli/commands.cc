#include "client/cli/command.h"

namespace quant::cli {

#define QUANTCTL_COMMAND(name, make, description) \
  std::unique_ptr<Command> make();
#include "client/cli/commands.def"
#undef QUANTCTL_COMMAND

namespace {

constexpr CommandRow kCommands[] = {
#define QUANTCTL_COMMAND(name, make, description) {name, description, &make},
#include "client/cli/commands.def"
#undef QUANTCTL_COMMAND
};

}  // namespace

absl::Span<const CommandRow> Commands() { return kCommands; }

std::vector<std::unique_ptr<Command>> AddCommands(CLI::App& app) {
  std::vector<std::unique_ptr<Command>> commands;
  for (const CommandRow& row : kCommands) {
    commands.push_back(row.make());
    commands.back()->AddFlags(*app.add_subcommand(row.name, row.description));
  }
  return commands;
}

}  // namespace quant::cli

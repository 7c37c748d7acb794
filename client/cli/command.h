// What a command of quantctl is. One file per command, one line in
// commands.def.
#ifndef QUANT_CLIENT_CLI_COMMAND_H_
#define QUANT_CLIENT_CLI_COMMAND_H_

#include <memory>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace quant::cli {

class Command {
 public:
  virtual ~Command() = default;
  // Declares arguments and flags; called once, before parsing.
  virtual void AddFlags(CLI::App& app) = 0;
  // Data goes to stdout, everything else to stderr. Answers the exit code; an
  // error is printed by the caller and becomes one (exit_code.h).
  virtual absl::StatusOr<int> Run() = 0;
};

struct CommandRow {
  const char* name;
  const char* description;
  std::unique_ptr<Command> (*make)();
};

// The table, in the order of the help.
absl::Span<const CommandRow> Commands();

// Declares all commands. `app` must outlive the result, which is parallel to
// Commands().
std::vector<std::unique_ptr<Command>> AddCommands(CLI::App& app);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_COMMAND_H_

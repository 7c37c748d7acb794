// quantctl: quantize models here, or have a server do it.
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/output.h"
#include "core/base/error.h"
#include "core/base/names.h"

namespace quant::cli {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 ok, 1 other, 2 usage, 3 job failed by its model or recipe,\n"
    "4 not allowed, 5 not found, 6 cancelled, 7 wait timed out, 8 quota or\n"
    "queue full, 9 server unavailable, 10 digest mismatch, 11 job failed by\n"
    "infrastructure, 12 gate failed, 130 interrupted.";

int Fail(const absl::Status& status) {
  // Lists in messages keep their lines; nothing else that controls a terminal
  // gets through.
  std::cerr << "quantctl: ";
  const char* separator = "";
  for (absl::string_view line : absl::StrSplit(status.message(), '\n')) {
    std::cerr << separator << Printable(line);
    separator = "\n";
  }
  if (const std::string field = GetField(status); !field.empty()) {
    std::cerr << " (" << Printable(field) << ")";
  }
  std::cerr << "\n";
  if (absl::IsCancelled(status) && WasInterrupted()) return kExitInterrupted;
  return ExitCodeOfStatus(status);
}

// A misspelt command deserves better than "not expected".
absl::Status CheckCommandName(const std::string& name) {
  std::vector<std::string> known;
  for (const CommandRow& row : Commands()) known.push_back(row.name);
  for (const std::string& one : known) {
    if (one == name) return absl::OkStatus();
  }
  return UnknownNameError("command", name, known);
}

// "-1,2" is an array, not a flag: a leading space, trimmed later, hides it from
// the parser.
std::string HideNegativeNumber(const char* argument) {
  const bool number = argument[0] == '-' &&
                      (absl::ascii_isdigit(argument[1]) || argument[1] == '.');
  return number ? absl::StrCat(" ", argument) : argument;
}

int Main(int argc, char** argv) {
  HandleInterrupts();
  CLI::App app("Quantize models here, or have a quantd server do it.",
               "quantctl");
  app.require_subcommand(1);
  app.footer(kFooter);
  const std::vector<std::unique_ptr<Command>> commands = AddCommands(app);
  if (argc > 1 && argv[1][0] != '-') {
    if (absl::Status status = CheckCommandName(argv[1]); !status.ok()) {
      return Fail(status);
    }
  }
  std::vector<std::string> arguments;  // CLI11 takes them in reverse
  for (int i = argc - 1; i > 0; --i) {
    arguments.push_back(HideNegativeNumber(argv[i]));
  }
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return app.exit(error, std::cout, std::cerr) == 0 ? kExitOk : kExitUsage;
  }
  for (size_t i = 0; i < commands.size(); ++i) {
    if (!app.got_subcommand(Commands()[i].name)) continue;
    const absl::StatusOr<int> code = commands[i]->Run();
    return code.ok() ? *code : Fail(code.status());
  }
  return kExitUsage;
}

}  // namespace
}  // namespace quant::cli

int main(int argc, char** argv) {
  const int code = quant::cli::Main(argc, argv);
  std::cout.flush();
  return code;
}

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

// "quantctl quantize".
std::string FullName(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent ? absl::StrCat(FullName(*parent), " ", app.get_name())
                : app.get_name();
}

absl::Status UnknownFlagError(const CLI::App& app, const std::string& given) {
  const std::string flag = given.substr(0, given.find('='));
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      known.push_back("--" + name);
    }
  }
  const std::string nearest = NearestName(flag, known);
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnknownName,
      absl::StrCat(flag, ": no such flag of ", FullName(app), "; ",
                   nearest.empty()
                       ? absl::StrCat("see ", FullName(app), " --help")
                       : absl::StrCat("did you mean ", nearest, "?")));
}

// What the parser found wrong. A misspelt flag comes first: that its value was
// not expected, or that another flag is required, only follows from it.
absl::Status UsageError(const CLI::App& app, const CLI::ParseError& error) {
  std::vector<const CLI::App*> apps = {&app};
  for (const CLI::App* command : app.get_subcommands()) {
    apps.push_back(command);
  }
  for (const CLI::App* one : apps) {
    for (const std::string& extra : one->remaining()) {
      if (extra.size() > 1 && extra[0] == '-' && extra != "--") {
        return UnknownFlagError(*one, extra);
      }
    }
  }
  return InvalidSpec(
      absl::StrCat(error.what(), "; see ", FullName(*apps.back()), " --help"));
}

// "-.5" is a number, as "-1" is one to the parser: not a flag.
std::string WithLeadingZero(const char* argument) {
  const bool fraction = argument[0] == '-' && argument[1] == '.' &&
                        absl::ascii_isdigit(argument[2]);
  return fraction ? absl::StrCat("-0", argument + 1) : argument;
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
    arguments.push_back(WithLeadingZero(argv[i]));
  }
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return Fail(UsageError(app, error));
    app.exit(error, std::cout, std::cerr);  // prints the help that was wanted
    return kExitOk;
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

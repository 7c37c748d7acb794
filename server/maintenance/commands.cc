#include "server/maintenance/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/maintenance/doctor.h"
#include "server/queue/queue_file.h"

namespace quant {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

struct Options {
  std::string data_dir;
  std::string file;  // of a backup
  bool digests = false;
  bool json = false;

  std::string queue() const { return JoinPath(data_dir, "queue.sqlite"); }
};

struct MaintenanceCommand {
  const char* help;
  void (*add_options)(CLI::App& app, Options& options);
  absl::StatusOr<int> (*run)(const Options& options);
};

const char* SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kWarning:
      return "warning";
    case Severity::kFailure:
      return "FAILURE";
  }
  return "";
}

void PrintJson(const std::vector<Finding>& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"severity", SeverityName(finding.severity)},
                    {"check", finding.check},
                    {"detail", finding.detail}});
  }
  // Names of files need not be UTF-8.
  const auto replace = nlohmann::json::error_handler_t::replace;
  std::printf("%s\n", list.dump(2, ' ', false, replace).c_str());
}

absl::StatusOr<int> RunDoctor(const Options& options) {
  const std::vector<Finding> findings =
      Examine({.data_dir = options.data_dir, .digests = options.digests});
  if (options.json) {
    PrintJson(findings);
  } else {
    for (const Finding& finding : findings) {
      std::printf("%-8s %-10s %s\n", SeverityName(finding.severity),
                  finding.check.c_str(), finding.detail.c_str());
    }
  }
  return WorstOf(findings) == Severity::kFailure ? kExitFailed : kExitOk;
}

absl::StatusOr<int> RunBackup(const Options& options) {
  QUANT_RETURN_IF_ERROR(BackUpQueueFile(options.queue(), options.file));
  QUANT_ASSIGN_OR_RETURN(const QueueFileReport copy,
                         InspectQueueFile(options.file));
  std::printf("%s: %zu jobs\n", options.file.c_str(), copy.jobs.size());
  return kExitOk;
}

absl::StatusOr<int> RunRestore(const Options& options) {
  QUANT_RETURN_IF_ERROR(MakeDirectories(options.data_dir));
  const absl::StatusOr<FileLock> lock =
      FileLock::Acquire(JoinPath(options.data_dir, "lock"));
  if (!lock.ok()) {
    if (GetReason(lock.status()) != Reason::kWorkDirLocked) {
      return lock.status();
    }
    return Annotate(lock.status(), "a server runs on it; stop it first");
  }
  const std::string queue = options.queue();
  QUANT_ASSIGN_OR_RETURN(const std::string replaced,
                         RestoreQueueFile(options.file, queue));
  QUANT_ASSIGN_OR_RETURN(const QueueFileReport report, InspectQueueFile(queue));
  std::printf("%s: %zu jobs\n", queue.c_str(), report.jobs.size());
  if (!replaced.empty()) {
    std::printf("what was there before: %s\n", replaced.c_str());
  }
  return kExitOk;
}

const std::map<std::string, MaintenanceCommand>& Commands() {
  static const auto* commands = new std::map<std::string, MaintenanceCommand>{
      {"doctor",
       {"Looks for what a server would stumble over: the queue's integrity, "
        "artifacts and\ntheir sizes, work directories and their journals, free "
        "disk. Changes nothing; may\nrun beside a server. Exit code 1 when "
        "something promised is not there.",
        [](CLI::App& app, Options& options) {
          app.add_flag("--digests", options.digests,
                       "Read every file and compare its SHA-256");
          app.add_flag("--json", options.json, "A list of findings as JSON");
        },
        RunDoctor}},
      {"backup",
       {"Copies the queue as it is at one moment, also beside a running "
        "server. Artifacts\nnever change: copy DIR/artifacts after it, with "
        "any tool.",
        [](CLI::App& app, Options& options) {
          app.add_option("--output", options.file, "A file that does not exist")
              ->required()
              ->type_name("FILE");
        },
        RunBackup}},
      {"restore",
       {"Puts a backup in the place of the queue, which is kept beside it. The "
        "server must\nbe stopped. Jobs that have ended since run again; "
        "artifacts that are there are\nnot made twice.",
        [](CLI::App& app, Options& options) {
          app.add_option("--from", options.file, "What quantd backup wrote")
              ->required()
              ->type_name("FILE");
        },
        RunRestore}},
  };
  return *commands;
}

}  // namespace

bool IsMaintenanceCommand(const std::string& name) {
  return Commands().count(name) > 0;
}

int RunMaintenance(const std::vector<std::string>& arguments) {
  const std::string& name = arguments.at(0);
  const MaintenanceCommand& command = Commands().at(name);
  CLI::App app(command.help, absl::StrCat("quantd ", name));
  Options options;
  app.add_option("--data-dir", options.data_dir, "The server's --data-dir")
      ->required()
      ->type_name("DIR");
  command.add_options(app, options);
  try {
    // CLI11 takes the last argument first.
    app.parse(
        std::vector<std::string>(arguments.rbegin(), arguments.rend() - 1));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  const absl::StatusOr<int> code = command.run(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "quantd %s: %s\n", name.c_str(),
               std::string(code.status().message()).c_str());
  return kExitFailed;
}

}  // namespace quant

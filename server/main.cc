// quantd: the server, and commands for who runs it. `quantd attempt --fd N` is
// the worker process that the server starts for each attempt.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"
#include "server/app.h"
#include "server/auth/commands.h"
#include "server/config/flags.h"
#include "server/maintenance/commands.h"
#include "server/signals.h"
#include "server/telemetry/log.h"
#include "server/worker/attempt_main.h"

namespace quant {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// Before anything else is touched: a child must start fast.
int AttemptMain(int argc, char** argv) {
  int fd = -1;
  if (argc != 4 || std::strcmp(argv[2], "--fd") != 0 ||
      !absl::SimpleAtoi(argv[3], &fd) || fd < 0) {
    std::fprintf(stderr, "usage: quantd attempt --fd N (started by quantd)\n");
    return kExitUsage;
  }
  UnblockSignals();
  return RunAttempt(fd);
}

absl::StatusOr<ServerConfig> ReadSettings(
    const std::vector<std::string>& arguments) {
  QUANT_ASSIGN_OR_RETURN(CommandLine line,
                         ParseCommandLine(arguments, ProcessEnvironment()));
  return std::move(line.config);
}

int Serve(const ServerConfig& config,
          const std::vector<std::string>& arguments) {
  BlockSignals();
  InitLogging(config.log_format);
  absl::StatusOr<std::unique_ptr<App>> app = App::Start(config);
  if (!app.ok()) {
    Log(LogLevel::kError, "start_failed",
        {{"msg", std::string(app.status().message())}});
    return kExitFailed;
  }
  std::printf("quantd %s is ready: grpc %s, http %s, data %s\n", kVersion,
              (*app)->grpc_address().c_str(), (*app)->http_address().c_str(),
              config.data_dir.c_str());
  std::fflush(stdout);
  int signal = WaitForSignal();
  for (; signal == SIGHUP; signal = WaitForSignal()) {
    (*app)->Reload(ReadSettings(arguments));
  }
  Log(LogLevel::kInfo, "drain_started", {{"signal", signal}});
  (*app)->Drain();
  app->reset();
  Log(LogLevel::kInfo, "stopped");
  return 0;
}

int ServerMain(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  absl::StatusOr<CommandLine> line =
      ParseCommandLine(arguments, ProcessEnvironment());
  if (!line.ok()) {
    std::fprintf(stderr, "quantd: %s\n",
                 std::string(line.status().message()).c_str());
    return kExitUsage;
  }
  if (line->print) {
    std::fputs(line->print->c_str(), stdout);
    return 0;
  }
  return Serve(line->config, arguments);
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
  if (argc >= 2 && std::strcmp(argv[1], "attempt") == 0) {
    return quant::AttemptMain(argc, argv);
  }
  if (argc >= 2 && quant::IsMaintenanceCommand(argv[1])) {
    return quant::RunMaintenance({argv + 1, argv + argc});
  }
  if (argc >= 2 && std::strcmp(argv[1], "token") == 0) {
    return quant::RunTokenCommand({argv + 2, argv + argc});
  }
  return quant::ServerMain(argc, argv);
}

// quantd's command line. Each setting has a flag --some-name, an environment
// variable QUANT_SOME_NAME and a key some-name in the YAML file of --config;
// flags override the environment, the environment overrides the file.
#ifndef QUANT_SERVER_CONFIG_FLAGS_H_
#define QUANT_SERVER_CONFIG_FLAGS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config/server_config.h"

namespace quant {

// The value of an environment variable, if it is set.
using Environment =
    std::function<std::optional<std::string>(const std::string& name)>;

Environment ProcessEnvironment();

struct CommandLine {
  ServerConfig config;
  // --help or --version: print this on stdout and exit with 0.
  std::optional<std::string> print;
};

// `arguments` without the program's name. INVALID_ARGUMENT with all problems,
// one per line, each naming where the value came from: "--workers", the
// variable or the file with its line.
absl::StatusOr<CommandLine> ParseCommandLine(
    const std::vector<std::string>& arguments, const Environment& environment);

}  // namespace quant

#endif  // QUANT_SERVER_CONFIG_FLAGS_H_

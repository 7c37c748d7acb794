// What of new settings a running server takes over.
#ifndef QUANT_SERVER_CONFIG_RELOAD_H_
#define QUANT_SERVER_CONFIG_RELOAD_H_

#include <string>
#include <vector>

#include "server/config/server_config.h"

namespace quant {

// Names of settings, in the order of the file's description.
struct ConfigChanges {
  std::vector<std::string> applied;
  std::vector<std::string> waiting;  // for a restart
};

// Takes what is reloadable from `next`, and nothing else, into `config`.
ConfigChanges TakeOver(const ServerConfig& next, ServerConfig& config);

}  // namespace quant

#endif  // QUANT_SERVER_CONFIG_RELOAD_H_

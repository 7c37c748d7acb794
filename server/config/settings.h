// The table of settings: one row per flag, with its help and how its text
// becomes a part of ServerConfig. Private to server/config.
#ifndef QUANT_SERVER_CONFIG_SETTINGS_H_
#define QUANT_SERVER_CONFIG_SETTINGS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/config/server_config.h"

namespace quant {

struct Setting {
  enum class Kind { kValue, kList, kSwitch };
  const char* name;  // "data-dir"
  const char* help;
  Kind kind = Kind::kValue;
  bool hidden = false;
  // Stores the values (one, unless kList; "true" or "false" for kSwitch).
  // Messages say what was found and what is allowed, not where.
  absl::Status (*apply)(ServerConfig& config,
                        const std::vector<std::string>& values);
};

// One per field of proto/quant/server/v1/config.proto.
absl::Span<const Setting> Settings();

// What only the settings together can tell; one message per problem. Fills in
// defaults that depend on the machine.
std::vector<std::string> CheckTogether(ServerConfig& config);

}  // namespace quant

#endif  // QUANT_SERVER_CONFIG_SETTINGS_H_

// What settings there are, as proto/quant/server/v1/config.proto has them.
// Private to server/config.
#ifndef QUANT_SERVER_CONFIG_SCHEMA_H_
#define QUANT_SERVER_CONFIG_SCHEMA_H_

#include <optional>
#include <string>
#include <vector>

namespace quant {

struct SettingSchema {
  bool list = false;        // takes more than one value
  bool reloadable = false;  // takes effect while the server runs
};

// By its name in the file, "data-dir"; nothing for others.
std::optional<SettingSchema> FindSettingSchema(const std::string& name);
std::vector<std::string> SettingNames();

}  // namespace quant

#endif  // QUANT_SERVER_CONFIG_SCHEMA_H_

// The YAML file of --config: a mapping from the names in
// proto/quant/server/v1/config.proto to a scalar, or to a list of scalars.
// Private to server/config.
#ifndef QUANT_SERVER_CONFIG_CONFIG_FILE_H_
#define QUANT_SERVER_CONFIG_CONFIG_FILE_H_

#include <map>
#include <string>
#include <vector>

namespace quant {

// The texts given for one setting, and where: "--workers", "QUANT_WORKERS" or
// "quantd.yaml:3: workers".
struct SettingValue {
  std::vector<std::string> values = {};
  std::string origin;
};

struct ConfigFile {
  std::map<std::string, SettingValue> values;
  std::vector<std::string> problems;  // unreadable, not YAML, unknown keys
};

ConfigFile LoadConfigFile(const std::string& path);

}  // namespace quant

#endif  // QUANT_SERVER_CONFIG_CONFIG_FILE_H_

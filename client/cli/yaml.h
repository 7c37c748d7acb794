// JSON as YAML, for people.
#ifndef QUANT_CLIENT_CLI_YAML_H_
#define QUANT_CLIENT_CLI_YAML_H_

#include <string>

namespace quant::cli {

// The same document in block style, keys in the same order. Strings that YAML
// would read as something else are quoted. Text that is no JSON: as it is.
std::string JsonToYaml(const std::string& json);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_YAML_H_

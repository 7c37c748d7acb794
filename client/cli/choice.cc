#include "client/cli/choice.h"

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "core/base/names.h"

namespace quant::cli {

CLI::Validator ValueOf(std::map<std::string, std::string> choices) {
  const auto take = [choices = std::move(choices)](std::string& given) {
    std::vector<std::string> known;
    for (const auto& [name, value] : choices) {
      if (absl::EqualsIgnoreCase(name, given)) {
        given = value;
        return std::string();
      }
      known.push_back(name);
    }
    return std::string(UnknownNameError("value", given, known).message());
  };
  return CLI::Validator(take, "");
}

CLI::Validator OneOf(const std::vector<std::string>& names) {
  std::map<std::string, std::string> choices;
  for (const std::string& name : names) choices[name] = name;
  return ValueOf(std::move(choices))
      .description(absl::StrCat("{", absl::StrJoin(names, ","), "}"));
}

}  // namespace quant::cli

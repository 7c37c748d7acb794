// Flags whose value is one of a few names. CLI11's own validators would also
// take the numbers that names stand for, and list them in errors.
#ifndef QUANT_CLIENT_CLI_CHOICE_H_
#define QUANT_CLIENT_CLI_CHOICE_H_

#include <map>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/strings/str_cat.h"

namespace quant::cli {

// For transform(): takes a name of `choices`, whatever its case, and hands on
// what it stands for; other names are answered with the nearest.
CLI::Validator ValueOf(std::map<std::string, std::string> choices);

// The same for an enum, which the parser reads as its number.
template <typename Enum>
CLI::Validator ValueOf(const std::map<std::string, Enum>& choices) {
  std::map<std::string, std::string> numbers;
  for (const auto& [name, value] : choices) {
    numbers[name] = absl::StrCat(static_cast<int>(value));
  }
  return ValueOf(std::move(numbers));
}

// The same for a string: hands on the name as it stands in `names`.
CLI::Validator OneOf(const std::vector<std::string>& names);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_CHOICE_H_

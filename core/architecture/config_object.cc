#include "core/architecture/config_object.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

using Json = nlohmann::json;

constexpr double kMaxPositive = 1e30;

// The key to name in messages: the first that is there, else the first.
absl::string_view NameOf(const Json& object, Keys keys) {
  for (absl::string_view key : keys) {
    const auto it = object.find(std::string(key));
    if (it != object.end() && !it->is_null()) return key;
  }
  return *keys.begin();
}

std::string Shown(const Json& value) {
  if (value.is_structured()) return absl::StrCat("an ", value.type_name());
  // Strings came through a parser that refuses what is not UTF-8.
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
  if (text.size() > 60) text = absl::StrCat(text.substr(0, 57), "...");
  return text;
}

bool IsPositive(const Json& value) {
  if (!value.is_number()) return false;
  const double number = value.get<double>();
  return std::isfinite(number) && number > 0 && number <= kMaxPositive;
}

}  // namespace

const Json* ConfigObject::Find(Keys keys) const {
  for (absl::string_view key : keys) {
    const auto it = object_->find(std::string(key));
    if (it != object_->end() && !it->is_null()) return &*it;
  }
  return nullptr;
}

absl::Status ConfigObject::Wrong(absl::string_view key, const Json& found,
                                 absl::string_view allowed) const {
  return ModelMalformed(absl::StrCat("config.json: \"", path_, key, "\" is ",
                                     Shown(found), "; allowed is ", allowed));
}

absl::Status ConfigObject::Missing(absl::string_view key) const {
  return ModelMalformed(
      absl::StrCat("config.json: has no \"", path_, key, "\""));
}

absl::StatusOr<std::optional<int64_t>> ConfigObject::FindInt(
    Keys keys, IntRange range) const {
  const Json* value = Find(keys);
  if (value == nullptr) return std::nullopt;
  // Integers that were written as "8.0" are integers too.
  std::optional<int64_t> number;
  if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else if (value->is_number_float()) {
    const double real = value->get<double>();
    if (std::abs(real) < 9e15 && real == std::floor(real)) {
      number = static_cast<int64_t>(real);
    }
  }
  if (number && *number >= range.min && *number <= range.max) return number;
  return Wrong(NameOf(*object_, keys), *value,
               absl::StrCat("an integer from ", range.min, " to ", range.max));
}

absl::StatusOr<int64_t> ConfigObject::Int(Keys keys, IntRange range) const {
  QUANT_ASSIGN_OR_RETURN(const std::optional<int64_t> value,
                         FindInt(keys, range));
  if (!value) return Missing(*keys.begin());
  return *value;
}

absl::StatusOr<int64_t> ConfigObject::Int(Keys keys, IntRange range,
                                          int64_t absent) const {
  QUANT_ASSIGN_OR_RETURN(const std::optional<int64_t> value,
                         FindInt(keys, range));
  return value.value_or(absent);
}

absl::StatusOr<std::optional<double>> ConfigObject::FindPositive(
    Keys keys) const {
  const Json* value = Find(keys);
  if (value == nullptr) return std::nullopt;
  if (IsPositive(*value)) return value->get<double>();
  return Wrong(NameOf(*object_, keys), *value, "a number above 0");
}

absl::StatusOr<double> ConfigObject::Positive(Keys keys, double absent) const {
  QUANT_ASSIGN_OR_RETURN(const std::optional<double> value, FindPositive(keys));
  return value.value_or(absent);
}

absl::StatusOr<std::optional<bool>> ConfigObject::FindBool(Keys keys) const {
  const Json* value = Find(keys);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  return Wrong(NameOf(*object_, keys), *value, "true or false");
}

absl::StatusOr<std::string> ConfigObject::String(Keys keys) const {
  const Json* value = Find(keys);
  if (value == nullptr) return std::string();
  if (value->is_string()) return value->get<std::string>();
  return Wrong(NameOf(*object_, keys), *value, "a string");
}

absl::StatusOr<std::vector<double>> ConfigObject::Positives(
    absl::string_view key, int64_t count) const {
  const Json* value = Find({key});
  if (value == nullptr) return Missing(key);
  const std::string allowed =
      absl::StrCat("an array of ", count, " numbers above 0");
  if (!value->is_array() || static_cast<int64_t>(value->size()) != count) {
    return Wrong(key, *value, allowed);
  }
  std::vector<double> numbers;
  for (const Json& item : *value) {
    if (!IsPositive(item)) return Wrong(key, item, allowed);
    numbers.push_back(item.get<double>());
  }
  return numbers;
}

absl::StatusOr<std::optional<ConfigObject>> ConfigObject::FindObject(
    absl::string_view key) const {
  const Json* value = Find({key});
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) return Wrong(key, *value, "an object");
  return ConfigObject(*value, absl::StrCat(path_, key, "."));
}

}  // namespace quant

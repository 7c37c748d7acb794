#include "core/network/json_fields.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {

using Json = nlohmann::json;

void JsonFields::Fail(const char* key, absl::string_view what) {
  if (!status_.ok()) return;
  status_ = ModelMalformed(absl::StrCat(file_, ": \"", key, "\" ", what));
}

const Json* JsonFields::Find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

int64_t JsonFields::Int(const char* key, int64_t least, int64_t most,
                        std::optional<int64_t> fallback) {
  const Json* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number_integer() ||
      (value->is_number_unsigned() &&
       value->get<uint64_t>() > static_cast<uint64_t>(most)) ||
      value->get<int64_t>() < least || value->get<int64_t>() > most) {
    Fail(key, absl::StrCat(value ? "is out of bounds" : "is missing",
                           "; an integer from ", least, " to ", most,
                           " is allowed"));
    return least;
  }
  return value->get<int64_t>();
}

double JsonFields::Number(const char* key, double least, double most,
                          std::optional<double> fallback) {
  const Json* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number() ||
      !(value->get<double>() >= least && value->get<double>() <= most)) {
    Fail(key,
         absl::StrCat(value ? "is out of bounds" : "is missing",
                      "; a number from ", least, " to ", most, " is allowed"));
    return least;
  }
  return value->get<double>();
}

bool JsonFields::Bool(const char* key, bool fallback) {
  const Json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    Fail(key, "is not true or false");
    return fallback;
  }
  return value->get<bool>();
}

std::string JsonFields::String(const char* key, absl::string_view fallback) {
  const Json* value = Find(key);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) {
    Fail(key, "is not a string");
    return std::string(fallback);
  }
  return value->get<std::string>();
}

const Json* JsonFields::Array(const char* key, int64_t limit) {
  const Json* value = Find(key);
  if (value == nullptr) return nullptr;
  if (value->is_array() && static_cast<int64_t>(value->size()) <= limit) {
    return value;
  }
  Fail(key, absl::StrCat("is not an array of at most ", limit, " elements"));
  return nullptr;
}

std::vector<double> JsonFields::Numbers(const char* key, int64_t count,
                                        double least, double most) {
  std::vector<double> numbers;
  if (const Json* array = Array(key, count)) {
    for (const Json& value : *array) {
      if (!value.is_number()) break;
      const double number = value.get<double>();
      if (!(number >= least && number <= most)) break;
      numbers.push_back(number);
    }
  }
  if (static_cast<int64_t>(numbers.size()) != count) {
    Fail(key, absl::StrCat("is not an array of ", count, " numbers from ",
                           least, " to ", most));
    numbers.assign(count, least);
  }
  return numbers;
}

std::vector<std::string> JsonFields::Strings(const char* key, int64_t limit) {
  std::vector<std::string> strings;
  const Json* array = Array(key, limit);
  if (array == nullptr) return strings;
  for (const Json& value : *array) {
    if (!value.is_string()) {
      Fail(key, "holds something that is not a string");
      return strings;
    }
    strings.push_back(value.get<std::string>());
  }
  return strings;
}

std::vector<int64_t> JsonFields::Ints(const char* key, int64_t limit) {
  std::vector<int64_t> ints;
  const Json* array = Array(key, limit);
  if (array == nullptr) return ints;
  for (const Json& value : *array) {
    // More than int64 holds becomes less than 0.
    if (!value.is_number_integer() || value.get<int64_t>() < 0) {
      Fail(key, "holds something that is not an integer >= 0");
      return ints;
    }
    ints.push_back(value.get<int64_t>());
  }
  return ints;
}

const Json* JsonFields::Object(const char* key) {
  const Json* value = Find(key);
  if (value == nullptr || value->is_object()) return value;
  Fail(key, "is not an object");
  return nullptr;
}

}  // namespace quant

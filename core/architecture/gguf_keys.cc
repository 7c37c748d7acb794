#include "core/architecture/gguf_keys.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

absl::Status LayersDiffer(absl::string_view key) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   absl::StrCat("key ", QuotedName(key),
                                ": differs between layers; config.json has "
                                "one number for all of them"));
}

// The one value of a list; nothing for an empty list.
template <typename T>
absl::StatusOr<std::optional<int64_t>> TheOne(const std::vector<T>& list,
                                              absl::string_view key) {
  if (list.empty()) return std::optional<int64_t>();
  for (T value : list) {
    if (value != list[0]) return LayersDiffer(key);
  }
  return std::optional<int64_t>(static_cast<int64_t>(list[0]));
}

}  // namespace

double ShortestDecimal(float value) {
  char text[64];
  const auto end = std::to_chars(std::begin(text), std::end(text), value);
  double decimal = value;
  (void)absl::SimpleAtod(absl::string_view(text, end.ptr - text), &decimal);
  return decimal;
}

GgufKeys::GgufKeys(absl::Span<const GgufKv> kvs, absl::string_view architecture)
    : kvs_(kvs), prefix_(absl::StrCat(architecture, ".")) {}

std::string GgufKeys::Name(absl::string_view key) {
  return *read_.insert(absl::StrCat(prefix_, key)).first;
}

absl::StatusOr<std::optional<int64_t>> GgufKeys::FindInt(
    absl::string_view key) {
  const std::string name = Name(key);
  const GgufValue* value = FindGgufValue(kvs_, name);
  if (value != nullptr && TypeOf(*value) == GgufType::kArray) {
    const GgufArray& array = std::get<GgufArray>(*value);
    // Python writes lists of numbers as i32.
    if (const auto* list = std::get_if<std::vector<int32_t>>(&array)) {
      return TheOne(*list, name);
    }
    QUANT_ASSIGN_OR_RETURN(const std::vector<uint32_t>* list,
                           GetGgufArray<uint32_t>(kvs_, name));
    return TheOne(*list, name);
  }
  QUANT_ASSIGN_OR_RETURN(const uint32_t* found, FindGguf<uint32_t>(kvs_, name));
  if (found == nullptr) return std::optional<int64_t>();
  return std::optional<int64_t>(*found);
}

absl::StatusOr<int64_t> GgufKeys::Int(absl::string_view key) {
  QUANT_ASSIGN_OR_RETURN(const std::optional<int64_t> found, FindInt(key));
  if (!found) return WrongGgufValue(kvs_, Name(key), uint32_t{});
  return *found;
}

absl::StatusOr<int64_t> GgufKeys::Int(absl::string_view key, int64_t absent) {
  QUANT_ASSIGN_OR_RETURN(const std::optional<int64_t> found, FindInt(key));
  return found.value_or(absent);
}

absl::StatusOr<std::optional<double>> GgufKeys::FindFloat(
    absl::string_view key) {
  const std::string name = Name(key);
  QUANT_ASSIGN_OR_RETURN(const float* found, FindGguf<float>(kvs_, name));
  if (found == nullptr) return std::optional<double>();
  if (std::isfinite(*found)) {
    return std::optional<double>(ShortestDecimal(*found));
  }
  return ModelMalformed(
      absl::StrCat("key ", QuotedName(name), ": is not finite"));
}

absl::StatusOr<double> GgufKeys::Float(absl::string_view key) {
  QUANT_ASSIGN_OR_RETURN(const std::optional<double> found, FindFloat(key));
  if (!found) return WrongGgufValue(kvs_, Name(key), float{});
  return *found;
}

absl::StatusOr<double> GgufKeys::Float(absl::string_view key, double absent) {
  QUANT_ASSIGN_OR_RETURN(const std::optional<double> found, FindFloat(key));
  return found.value_or(absent);
}

absl::StatusOr<std::string> GgufKeys::Text(absl::string_view key) {
  QUANT_ASSIGN_OR_RETURN(const std::string* found,
                         FindGguf<std::string>(kvs_, Name(key)));
  return found == nullptr ? std::string() : *found;
}

const std::vector<bool>* GgufKeys::Flags(absl::string_view key) {
  const GgufValue* value = FindGgufValue(kvs_, Name(key));
  const auto* array =
      value == nullptr ? nullptr : std::get_if<GgufArray>(value);
  return array == nullptr ? nullptr : std::get_if<std::vector<bool>>(array);
}

std::vector<std::string> GgufKeys::Unread() const {
  std::vector<std::string> keys;
  for (const GgufKv& kv : kvs_) {
    if (absl::StartsWith(kv.key, prefix_) && read_.count(kv.key) == 0) {
      keys.push_back(kv.key);
    }
  }
  return keys;
}

}  // namespace quant

// Typed, bounded access to a JSON object from outside. The first error is kept;
// what is read after it has no meaning.
#ifndef QUANT_CORE_NETWORK_JSON_FIELDS_H_
#define QUANT_CORE_NETWORK_JSON_FIELDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quant {

class JsonFields {
 public:
  // All must outlive this; errors name `file`. Fields that are null count as
  // absent.
  JsonFields(const nlohmann::json& object, absl::Status& status,
             absl::string_view file = "config.json")
      : object_(object), status_(status), file_(file) {}

  bool Has(const char* key) const { return Find(key) != nullptr; }
  // The integer in [least, most].
  int64_t Int(const char* key, int64_t least, int64_t most,
              std::optional<int64_t> fallback = std::nullopt);
  // The number in [least, most]; finite.
  double Number(const char* key, double least, double most,
                std::optional<double> fallback = std::nullopt);
  bool Bool(const char* key, bool fallback);
  std::string String(const char* key, absl::string_view fallback);
  // As many numbers as `count`, each in [least, most].
  std::vector<double> Numbers(const char* key, int64_t count, double least,
                              double most);
  // At most `limit` strings; empty when absent.
  std::vector<std::string> Strings(const char* key, int64_t limit);
  // At most `limit` integers >= 0; empty when absent.
  std::vector<int64_t> Ints(const char* key, int64_t limit);
  // The object, or null when absent.
  const nlohmann::json* Object(const char* key);

  void Fail(const char* key, absl::string_view what);

 private:
  const nlohmann::json* Find(const char* key) const;
  // The array with at most `limit` elements, or null.
  const nlohmann::json* Array(const char* key, int64_t limit);

  const nlohmann::json& object_;
  absl::Status& status_;
  absl::string_view file_;
};

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_JSON_FIELDS_H_

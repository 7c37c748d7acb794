// An object of config.json, read with types and ranges checked. Errors name the
// key and what is allowed.
#ifndef QUANT_CORE_ARCHITECTURE_CONFIG_OBJECT_H_
#define QUANT_CORE_ARCHITECTURE_CONFIG_OBJECT_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// Synonyms of one key; the first that is there counts. null counts as absent.
using Keys = std::initializer_list<absl::string_view>;

struct IntRange {
  int64_t min = 1;
  int64_t max = 0;
};

class ConfigObject {
 public:
  // `object` must outlive this. `path` stands before keys in messages.
  explicit ConfigObject(const nlohmann::json& object, std::string path = "")
      : object_(&object), path_(std::move(path)) {}

  // Null when none of the keys is there.
  const nlohmann::json* Find(Keys keys) const;
  bool Has(Keys keys) const { return Find(keys) != nullptr; }

  absl::StatusOr<std::optional<int64_t>> FindInt(Keys keys,
                                                 IntRange range) const;
  // Fails when it is absent.
  absl::StatusOr<int64_t> Int(Keys keys, IntRange range) const;
  absl::StatusOr<int64_t> Int(Keys keys, IntRange range, int64_t absent) const;
  // A finite number > 0, at most 1e30 (what float32 holds).
  absl::StatusOr<std::optional<double>> FindPositive(Keys keys) const;
  absl::StatusOr<double> Positive(Keys keys, double absent) const;
  absl::StatusOr<std::optional<bool>> FindBool(Keys keys) const;
  // Empty when absent.
  absl::StatusOr<std::string> String(Keys keys) const;
  // Exactly `count` numbers > 0.
  absl::StatusOr<std::vector<double>> Positives(absl::string_view key,
                                                int64_t count) const;
  // The object at `key`; nothing when absent.
  absl::StatusOr<std::optional<ConfigObject>> FindObject(
      absl::string_view key) const;

  absl::Status Wrong(absl::string_view key, const nlohmann::json& found,
                     absl::string_view allowed) const;
  absl::Status Missing(absl::string_view key) const;

 private:
  const nlohmann::json* object_;
  std::string path_;
};

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_CONFIG_OBJECT_H_

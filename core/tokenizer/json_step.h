// Objects {"type": ..., ...} of which tokenizer.json's pipelines are made.
#ifndef QUANT_CORE_TOKENIZER_JSON_STEP_H_
#define QUANT_CORE_TOKENIZER_JSON_STEP_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/tokenizer/regex.h"

namespace quant {

// One step: its type and its settings. Views the JSON, which outlives it.
class JsonStep {
 public:
  // `kind` is for messages: "normalizer".
  static absl::StatusOr<JsonStep> Of(absl::string_view kind,
                                     const nlohmann::json& object);

  const std::string& type() const { return type_; }
  const nlohmann::json& object() const { return *object_; }

  // A setting; `absent` when it is not there or null. DATA_LOSS
  // MODEL_MALFORMED when it has another type.
  absl::StatusOr<bool> Flag(const char* key, bool absent) const;
  absl::StatusOr<std::string> Text(const char* key,
                                   absl::string_view absent) const;
  // {"String": text} or {"Regex": pattern}.
  absl::StatusOr<Regex> Pattern(const char* key) const;

  absl::Status Malformed(absl::string_view what) const;
  // INVALID_ARGUMENT UNSUPPORTED.
  absl::Status Unsupported(absl::string_view what) const;

 private:
  JsonStep(absl::string_view kind, const nlohmann::json& object)
      : kind_(kind), object_(&object) {}

  std::string kind_;
  std::string type_;
  const nlohmann::json* object_;
};

// `root` and what its Sequences hold under `list`, in order; none for null.
// At most kMaxTokenizerSteps.
absl::StatusOr<std::vector<JsonStep>> StepsOf(absl::string_view kind,
                                              const nlohmann::json& root,
                                              const char* list);

// INVALID_ARGUMENT UNSUPPORTED: a type that is not done, the known ones and the
// nearest.
absl::Status UnknownStep(const JsonStep& step, absl::string_view kind,
                         const std::vector<std::string>& known);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_JSON_STEP_H_

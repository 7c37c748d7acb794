// Rewrites of a text before it is cut. The table is normalizers.def.
#ifndef QUANT_CORE_TOKENIZER_NORMALIZER_H_
#define QUANT_CORE_TOKENIZER_NORMALIZER_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/tokenizer/json_step.h"

namespace quant {

// One text between two added tokens.
struct Segment {
  std::string text;  // UTF-8
  // Whether it begins with the first character of the text as it was given.
  bool first = false;
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual absl::Status Apply(Segment& segment) const = 0;
};

// Those of tokenizer.json's "normalizer", in order. INVALID_ARGUMENT
// UNSUPPORTED for a type that is not in the table.
absl::StatusOr<std::vector<std::unique_ptr<Normalizer>>> MakeNormalizers(
    const nlohmann::json& root);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_NORMALIZER_H_

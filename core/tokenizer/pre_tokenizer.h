// Ways to cut a text into the pieces that a model tokenizes one by one. The
// table is pre_tokenizers.def.
#ifndef QUANT_CORE_TOKENIZER_PRE_TOKENIZER_H_
#define QUANT_CORE_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/tokenizer/cut_text.h"
#include "core/tokenizer/json_step.h"

namespace quant {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Cuts every piece further, and may rewrite it.
  virtual absl::Status Apply(CutText& pieces) const = 0;
};

// Those of tokenizer.json's "pre_tokenizer", in order. INVALID_ARGUMENT
// UNSUPPORTED for a type that is not in the table.
absl::StatusOr<std::vector<std::unique_ptr<PreTokenizer>>> MakePreTokenizers(
    const nlohmann::json& root);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_PRE_TOKENIZER_H_

// Names for the way in which a byte-level tokenizer cuts text. The table is
// pre_tokenizers.def.
#ifndef QUANT_CORE_ARCHITECTURE_PRE_TOKENIZERS_H_
#define QUANT_CORE_ARCHITECTURE_PRE_TOKENIZERS_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/architecture/tokenizer_json.h"

namespace quant {

// Whether the tokenizer works on bytes, spelled as characters.
bool IsByteLevel(const TokenizerJson& tokenizer);

// tokenizer.ggml.pre. INVALID_ARGUMENT UNSUPPORTED, with what the user can do,
// for a way of cutting that loaders have no name for.
absl::StatusOr<std::string> PreTokenizerName(const TokenizerJson& tokenizer);

// What a name stands for, in the words of tokenizer.json.
struct PreTokenizerParts {
  nlohmann::json steps;       // "pre_tokenizer"
  nlohmann::json normalizer;  // null for none
  bool ignore_merges = false;
};

// Nothing for a name that is not in the table.
std::optional<PreTokenizerParts> PreTokenizerOf(absl::string_view name);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_PRE_TOKENIZERS_H_

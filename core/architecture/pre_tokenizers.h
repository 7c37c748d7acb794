// Names for the way in which a byte-level tokenizer cuts text. The table is
// pre_tokenizers.def.
#ifndef QUANT_CORE_ARCHITECTURE_PRE_TOKENIZERS_H_
#define QUANT_CORE_ARCHITECTURE_PRE_TOKENIZERS_H_

#include <string>

#include "absl/status/statusor.h"
#include "core/architecture/tokenizer_json.h"

namespace quant {

// Whether the tokenizer works on bytes, spelled as characters.
bool IsByteLevel(const TokenizerJson& tokenizer);

// tokenizer.ggml.pre. INVALID_ARGUMENT UNSUPPORTED, with what the user can do,
// for a way of cutting that loaders have no name for.
absl::StatusOr<std::string> PreTokenizerName(const TokenizerJson& tokenizer);

}  // namespace quant

#endif  // QUANT_CORE_ARCHITECTURE_PRE_TOKENIZERS_H_

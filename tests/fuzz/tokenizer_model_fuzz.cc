// tokenizer.model, and the keys that would be made of it.
#include "tests/fuzz/tokenizer_check.h"

namespace quant::fuzz {

void TokenizerModel(absl::string_view bytes) {
  CheckTokenizer({.tokenizer_model = std::string(bytes)});
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::TokenizerModel)

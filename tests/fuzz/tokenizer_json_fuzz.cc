// tokenizer.json, and the keys that would be made of it.
#include "tests/fuzz/tokenizer_check.h"

namespace quant::fuzz {

void TokenizerJson(absl::string_view bytes) {
  CheckTokenizer({.tokenizer_json = std::string(bytes)});
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::TokenizerJson)

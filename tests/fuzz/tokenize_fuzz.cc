// A tokenizer's file, a NUL byte, and a text that is tokenized with it.
#include <algorithm>
#include <string>

#include "core/base/error.h"
#include "core/tokenizer/tokenizer.h"
#include "tests/fuzz/tokenizer_check.h"

namespace quant::fuzz {
namespace {

// Refused text, or a pattern that backtracks for too long.
bool IsEncodingAnswer(const absl::Status& status) {
  const Reason reason = GetReason(status);
  return status.message().size() < 4096 &&
         (reason == Reason::kInvalidSpec || reason == Reason::kUnsupported);
}

}  // namespace

void Tokenize(absl::string_view bytes) {
  const size_t nul = std::min(bytes.find('\0'), bytes.size());
  const std::string file(bytes.substr(0, nul));
  const absl::string_view text = bytes.substr(std::min(nul + 1, bytes.size()));
  const bool is_json = !file.empty() && file[0] == '{';
  const auto files = ParseTokenizerFiles(
      is_json ? TokenizerTexts{.tokenizer_json = file}
              : TokenizerTexts{.tokenizer_model = std::string(bytes)});
  if (!files.ok()) {
    QUANT_FUZZ_CHECK(IsTokenizerAnswer(files.status()));
    return;
  }
  const auto tokenizer = Tokenizer::Make(*files);
  if (!tokenizer.ok()) {
    QUANT_FUZZ_CHECK(IsTokenizerAnswer(tokenizer.status()) ||
                     GetReason(tokenizer.status()) == Reason::kUnknownName);
    return;
  }
  const auto encoding =
      (*tokenizer)->Encode(is_json ? text : "a b\n<s> \u4E16");
  if (!encoding.ok()) {
    QUANT_FUZZ_CHECK(IsEncodingAnswer(encoding.status()));
    return;
  }
  for (int32_t id : encoding->ids) {
    QUANT_FUZZ_CHECK(id >= 0 && id < (*tokenizer)->vocabulary());
    (*tokenizer)->TextOf(id);
  }
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::Tokenize)

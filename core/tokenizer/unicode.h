// What tokenizers ask of Unicode beyond regular expressions.
#ifndef QUANT_CORE_TOKENIZER_UNICODE_H_
#define QUANT_CORE_TOKENIZER_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

// The character that `text`, which is UTF-8 and not empty, begins with.
struct CodePoint {
  char32_t value = 0;
  size_t bytes = 0;
};
CodePoint FirstCodePoint(absl::string_view text);
// The first byte of the last character of `text`, which is not empty.
size_t LastCodePointAt(absl::string_view text);
void AppendUtf8(char32_t value, std::string& out);

// Where `text` stops being UTF-8 (overlong forms, surrogates and what lies
// beyond U+10FFFF are none); nothing when it is UTF-8 all through.
std::optional<size_t> FirstInvalidUtf8(absl::string_view text);

// The property White_Space.
bool IsWhiteSpace(char32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Of any UTF-8. Linear but for the sorting of marks after one character.
// Source: Unicode Standard Annex 15; tables of utf8proc.
absl::StatusOr<std::string> Normalize(absl::string_view text, NormalForm form);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_UNICODE_H_

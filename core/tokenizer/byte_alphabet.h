// The characters that stand for bytes in byte-level tokenizers: printable ones
// for themselves, the others moved up from U+0100.
// Source: bytes_to_unicode of GPT-2's encoder.py (Radford et al. 2019).
#ifndef QUANT_CORE_TOKENIZER_BYTE_ALPHABET_H_
#define QUANT_CORE_TOKENIZER_BYTE_ALPHABET_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace quant {

// The character of each byte.
const std::array<char32_t, 256>& ByteAlphabet();

// Appends every byte of `bytes` as its character.
void AppendSpelled(absl::string_view bytes, std::string& out);

// The bytes that the characters of `text`, which is UTF-8, stand for; others
// stay as they are.
std::string BytesOf(absl::string_view text);

}  // namespace quant

#endif  // QUANT_CORE_TOKENIZER_BYTE_ALPHABET_H_

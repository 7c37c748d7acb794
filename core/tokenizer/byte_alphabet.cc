#include "core/tokenizer/byte_alphabet.h"

#include "absl/strings/str_cat.h"
#include "core/tokenizer/unicode.h"

namespace quant {
namespace {

constexpr char32_t kMoved = 0x100;
constexpr int kMovedCount = 68;

bool IsPrintable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
         byte >= 0xAE;
}

std::array<char32_t, 256> MakeAlphabet() {
  std::array<char32_t, 256> alphabet;
  char32_t next = kMoved;
  for (int byte = 0; byte < 256; ++byte) {
    alphabet[byte] = IsPrintable(byte) ? byte : next++;
  }
  return alphabet;
}

// The byte of each character below U+0144, or -1.
std::array<int, kMoved + kMovedCount> MakeInverse() {
  std::array<int, kMoved + kMovedCount> bytes;
  bytes.fill(-1);
  for (int byte = 0; byte < 256; ++byte) bytes[ByteAlphabet()[byte]] = byte;
  return bytes;
}

}  // namespace

const std::array<char32_t, 256>& ByteAlphabet() {
  static const std::array<char32_t, 256> alphabet = MakeAlphabet();
  return alphabet;
}

void AppendSpelled(absl::string_view bytes, std::string& out) {
  for (char byte : bytes) {
    AppendUtf8(ByteAlphabet()[static_cast<uint8_t>(byte)], out);
  }
}

std::string BytesOf(absl::string_view text) {
  static const auto inverse = MakeInverse();
  std::string out;
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    const int byte = c.value < inverse.size() ? inverse[c.value] : -1;
    if (byte >= 0) {
      out.push_back(static_cast<char>(byte));
    } else {
      absl::StrAppend(&out, text.substr(0, c.bytes));
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace quant

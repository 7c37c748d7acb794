// SentencePiece models, byte by byte.
#ifndef QUANT_TESTS_CORE_ARCHITECTURE_SPM_BYTES_H_
#define QUANT_TESTS_CORE_ARCHITECTURE_SPM_BYTES_H_

#include <bit>
#include <cstdint>
#include <string>

namespace quant {

inline std::string SpmVarint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(value & 0x7F | 0x80);
  }
  return bytes + static_cast<char>(value);
}

// A field with a number, and one with bytes.
inline std::string SpmNumber(uint64_t field, uint64_t value) {
  return SpmVarint(field << 3) + SpmVarint(value);
}
inline std::string SpmMessage(uint64_t field, const std::string& bytes) {
  return SpmVarint(field << 3 | 2) + SpmVarint(bytes.size()) + bytes;
}

// Type 0 is left out.
inline std::string SpmPieceBytes(const std::string& text, float score,
                                 int type) {
  std::string piece = SpmMessage(1, text) + SpmVarint(2 << 3 | 5);
  const uint32_t bits = std::bit_cast<uint32_t>(score);
  for (int i = 0; i < 4; ++i) piece += static_cast<char>(bits >> (8 * i));
  if (type != 0) piece += SpmNumber(3, type);
  return SpmMessage(1, piece);
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_ARCHITECTURE_SPM_BYTES_H_

// Scalar twins of the K-quant block types: what the bytes mean, value by value,
// written as plainly as possible.
#ifndef QUANT_TESTS_CORE_KERNELS_GGML_K_TWINS_H_
#define QUANT_TESTS_CORE_KERNELS_GGML_K_TWINS_H_

#include <cstdint>
#include <cstdlib>

#include "core/tensor/float_formats.h"
#include "core/tensor/ggml_type.h"

namespace quant {

inline float TwinHalf(const uint8_t* bytes) {
  return F16ToF32(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
}

inline int BitsOf(int byte, int first, int count) {
  return byte >> first & ((1 << count) - 1);
}

// Six bits: of scale j (which = 0) or min j (which = 1) of Q4_K and Q5_K.
inline int TwinSixBits(const uint8_t* bytes, int which, int j) {
  if (j < 4) return bytes[4 * which + j] & 63;
  return BitsOf(bytes[8 + j - 4], 4 * which, 4) |
         BitsOf(bytes[4 * which + j - 4], 6, 2) << 4;
}

inline float TwinQ2K(const uint8_t* b, int n) {
  const int q = BitsOf(b[16 + 32 * (n / 128) + n % 32], 2 * (n % 128 / 32), 2);
  const int scale = b[n / 16] & 15, min = b[n / 16] >> 4;
  return TwinHalf(b + 80) * static_cast<float>(scale * q) -
         TwinHalf(b + 82) * static_cast<float>(min);
}

inline float TwinQ3K(const uint8_t* b, int n) {
  const int low =
      BitsOf(b[32 + 32 * (n / 128) + n % 32], 2 * (n % 128 / 32), 2);
  const int q = low + 4 * BitsOf(b[n % 32], n / 32, 1) - 4;
  const int j = n / 16;
  const int scale = BitsOf(b[96 + j % 8], 4 * (j / 8), 4) |
                    BitsOf(b[96 + 8 + j % 4], 2 * (j / 4), 2) << 4;
  return TwinHalf(b + 108) * static_cast<float>((scale - 32) * q);
}

inline float TwinFiveOrFourBits(const uint8_t* b, int n, int high,
                                const uint8_t* nibbles) {
  const int q =
      BitsOf(nibbles[32 * (n / 64) + n % 32], n % 64 < 32 ? 0 : 4, 4) |
      high << 4;
  return TwinHalf(b) * static_cast<float>(TwinSixBits(b + 4, 0, n / 32) * q) -
         TwinHalf(b + 2) * static_cast<float>(TwinSixBits(b + 4, 1, n / 32));
}

inline float TwinQ6K(const uint8_t* b, int n) {
  const int half = n / 128, r = n % 128 / 32, i = n % 32;
  const int low = BitsOf(b[64 * half + 32 * (r % 2) + i], r < 2 ? 0 : 4, 4);
  const int q = (low | BitsOf(b[128 + 32 * half + i], 2 * r, 2) << 4) - 32;
  const int scale = static_cast<int8_t>(b[192 + n / 16]);
  return TwinHalf(b + 208) * static_cast<float>(scale * q);
}

// Value n of a block.
inline float KTwinValue(GgmlType type, const uint8_t* block, int n) {
  switch (type) {
    case GgmlType::kQ2_K:
      return TwinQ2K(block, n);
    case GgmlType::kQ3_K:
      return TwinQ3K(block, n);
    case GgmlType::kQ4_K:
      return TwinFiveOrFourBits(block, n, 0, block + 16);
    case GgmlType::kQ5_K:
      return TwinFiveOrFourBits(block, n, BitsOf(block[16 + n % 32], n / 32, 1),
                                block + 48);
    case GgmlType::kQ6_K:
      return TwinQ6K(block, n);
    default:
      std::abort();
  }
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_KERNELS_GGML_K_TWINS_H_

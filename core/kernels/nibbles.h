// Two 4-bit codes to a byte, as they are (pack.h is for signed ones).
#ifndef QUANT_CORE_KERNELS_NIBBLES_H_
#define QUANT_CORE_KERNELS_NIBBLES_H_

#include <cstdint>

namespace quant {

// Where the first of two codes goes.
enum class NibbleOrder {
  kLowFirst,   // NVFP4, MXFP4: (2, 9) -> 0x92
  kHighFirst,  // bitsandbytes: (15, 7) -> 0xF7
};

// codes [n] in 0..15 -> out [ceil(n / 2)]; an odd last one is followed by 0.
void PackPairs(const uint8_t* codes, int64_t n, NibbleOrder order,
               uint8_t* out);
void UnpackPairs(const uint8_t* packed, int64_t n, NibbleOrder order,
                 uint8_t* codes);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_NIBBLES_H_

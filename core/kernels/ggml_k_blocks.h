// The bits of K-quant blocks: 256 values of a row, in 16 sub-blocks of 16 or 8
// of 32. Byte maps are in docs/formats.md; source: the ggml type table.
//
//   Q2_K, Q4_K, Q5_K:  value = (d * scale[j]) * code - dmin * min[j]
//   Q3_K, Q6_K:        value = (d * scale[j]) * (code - 4 or 32)
//
// d * scale * code has at most 24 significant bits: only the subtraction
// rounds, so every order of operations decodes to the same floats.
//
// Legend: j a sub-block, n a position inside the block.
#ifndef QUANT_CORE_KERNELS_GGML_K_BLOCKS_H_
#define QUANT_CORE_KERNELS_GGML_K_BLOCKS_H_

#include <cstdint>

namespace quant {

inline constexpr int kKElems = 256;

inline constexpr int kQ2KBytes = 84;
inline constexpr int kQ3KBytes = 110;
inline constexpr int kQ4KBytes = 144;
inline constexpr int kQ5KBytes = 176;
inline constexpr int kQ6KBytes = 210;

// A block with a byte per field. Packing takes codes and scales within their
// ranges; unpacking gives such.
struct KBlock {
  uint8_t code[kKElems];  // 0..3, 0..7, 0..15, 0..31, 0..63
  int8_t scale[16];       // Q2_K 0..15, Q4_K and Q5_K 0..63 (8 of them), Q3_K
                          // -32..31, Q6_K -128..127
  uint8_t min[16];        // as scale; unused by Q3_K and Q6_K
  uint16_t d;             // F16
  uint16_t dmin;          // F16; unused by Q3_K and Q6_K
};

void PackQ2K(const KBlock& block, uint8_t* bytes);
void PackQ3K(const KBlock& block, uint8_t* bytes);
void PackQ4K(const KBlock& block, uint8_t* bytes);
void PackQ5K(const KBlock& block, uint8_t* bytes);
void PackQ6K(const KBlock& block, uint8_t* bytes);

void UnpackQ2K(const uint8_t* bytes, KBlock& block);
void UnpackQ3K(const uint8_t* bytes, KBlock& block);
void UnpackQ4K(const uint8_t* bytes, KBlock& block);
void UnpackQ5K(const uint8_t* bytes, KBlock& block);
void UnpackQ6K(const uint8_t* bytes, KBlock& block);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_GGML_K_BLOCKS_H_

// Codes into 32-bit words: the bit layout of compressed-tensors' pack-quantized
// files (dense since version 0.17; the same as before for 1, 2, 4 and 8 bits).
//
// Element i of a row is u = q + 2^(b-1) and takes bits i*b .. i*b + b - 1 of a
// little-endian stream cut into 32-bit words, low bits first. A row is padded
// with zero bits to whole words.
#ifndef QUANT_CORE_KERNELS_PACK_H_
#define QUANT_CORE_KERNELS_PACK_H_

#include <cstdint>

namespace quant {

// Words of one row of n elements: ceil(n * bits / 32).
int64_t PackedWords(int64_t n, int bits);

// codes [rows, n] signed, in [-2^(b-1), 2^(b-1)-1], bits 2..8 -> out
// [rows, PackedWords(n, bits)] little-endian words.
void PackRows(const int8_t* codes, int64_t rows, int64_t n, int bits,
              uint8_t* out);
void UnpackRows(const uint8_t* packed, int64_t rows, int64_t n, int bits,
                int8_t* codes);

// The same along the other dimension, for zero points: codes [rows, columns] ->
// out [ceil(rows * bits / 32), columns] words, each column one stream.
void PackColumns(const int8_t* codes, int64_t rows, int64_t columns, int bits,
                 uint8_t* out);
void UnpackColumns(const uint8_t* packed, int64_t rows, int64_t columns,
                   int bits, int8_t* codes);

// The layout of before version 0.17, which differs for 3, 5, 6 and 7 bits: a
// word holds floor(32 / b) elements, low bits first, and its other bits mean
// nothing. Only read. Rows are packed one by one, columns as one stream each.
int64_t LooseWords(int64_t n, int bits);
void UnpackLooseRows(const uint8_t* packed, int64_t rows, int64_t n, int bits,
                     int8_t* codes);
void UnpackLooseColumns(const uint8_t* packed, int64_t rows, int64_t columns,
                        int bits, int8_t* codes);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_PACK_H_

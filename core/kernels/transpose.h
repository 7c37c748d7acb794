// Transposition of matrices in memory, in blocks that stay in the cache: for
// formats whose words run along the inputs, or lie with the inputs outermost.
#ifndef QUANT_CORE_KERNELS_TRANSPOSE_H_
#define QUANT_CORE_KERNELS_TRANSPOSE_H_

#include <array>
#include <cstdint>

namespace quant {

// in [rows, cols] of 32-bit words -> out [cols, rows]. Any alignment.
void TransposeWords(const uint8_t* in, int64_t rows, int64_t cols,
                    uint8_t* out);

// Which of eight rows comes first, second, ...
using RowOrder = std::array<uint8_t, 8>;
inline constexpr RowOrder kInOrder = {0, 1, 2, 3, 4, 5, 6, 7};

// in [rows, cols] -> out [cols, rows]: out[c][8 k + i] = in[8 k + order[i]][c].
// rows % 8 == 0 unless the order is kInOrder.
void TransposeBytes(const int8_t* in, int64_t rows, int64_t cols,
                    const RowOrder& order, int8_t* out);
// The inverse: out[8 k + order[i]][c] = in[c][8 k + i]; in [cols, rows].
void UntransposeBytes(const int8_t* in, int64_t rows, int64_t cols,
                      const RowOrder& order, int8_t* out);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_TRANSPOSE_H_

#include "core/kernels/transpose.h"

#include <algorithm>
#include <cstring>

namespace quant {
namespace {

// Both sides of a block fit the level-1 cache.
constexpr int64_t kBlock = 32;

// Calls move(r, c) for all of [rows, cols], block by block.
template <class Move>
void ForBlocks(int64_t rows, int64_t cols, const Move& move) {
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    const int64_t r1 = std::min(r0 + kBlock, rows);
    for (int64_t c0 = 0; c0 < cols; c0 += kBlock) {
      const int64_t c1 = std::min(c0 + kBlock, cols);
      for (int64_t c = c0; c < c1; ++c) {
        for (int64_t r = r0; r < r1; ++r) move(r, c);
      }
    }
  }
}

int64_t Source(int64_t row, const RowOrder& order) {
  return row / 8 * 8 + order[row % 8];
}

}  // namespace

void TransposeWords(const uint8_t* in, int64_t rows, int64_t cols,
                    uint8_t* out) {
  ForBlocks(rows, cols, [&](int64_t r, int64_t c) {
    std::memcpy(out + 4 * (c * rows + r), in + 4 * (r * cols + c), 4);
  });
}

void TransposeBytes(const int8_t* in, int64_t rows, int64_t cols,
                    const RowOrder& order, int8_t* out) {
  ForBlocks(rows, cols, [&](int64_t r, int64_t c) {
    out[c * rows + r] = in[Source(r, order) * cols + c];
  });
}

void UntransposeBytes(const int8_t* in, int64_t rows, int64_t cols,
                      const RowOrder& order, int8_t* out) {
  ForBlocks(rows, cols, [&](int64_t r, int64_t c) {
    out[Source(r, order) * cols + c] = in[c * rows + r];
  });
}

}  // namespace quant

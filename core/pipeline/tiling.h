// How a tensor is cut into tiles: the same for every thread count and CPU,
// since error sums are combined tile by tile.
#ifndef QUANT_CORE_PIPELINE_TILING_H_
#define QUANT_CORE_PIPELINE_TILING_H_

#include <algorithm>
#include <cstdint>

#include "core/base/checked_math.h"
#include "core/tensor/shape.h"

namespace quant {

// Elements of a tile: source bytes, floats and codes of a tile stay in a core's
// level-2 cache together.
inline constexpr int64_t kTileElements = 1 << 17;
// Bytes of a tile of a tensor that is only copied.
inline constexpr int64_t kCopyTileBytes = 1 << 18;

// Tiles are handed out and written together up to so many bytes of output: the
// kernel takes few large pieces in less time than many small ones.
inline constexpr int64_t kRunBytes = 1 << 20;
// And read together up to so many bytes of source.
inline constexpr int64_t kReadAheadBytes = 1 << 20;
// Output of all threads that may wait for the one that writes.
inline constexpr int64_t kMaxUnwrittenBytes = 4 << 20;

// A tensor as rows. A tensor that is only copied is rows of one byte.
struct Tiling {
  int64_t rows = 0;
  int64_t cols = 0;       // elements per row (bytes, when copied)
  int64_t row_bytes = 0;  // source bytes per row
  int64_t tile_rows = 1;

  int64_t tiles() const { return CeilDiv(rows, tile_rows); }
  int64_t first_row(int64_t tile) const { return tile * tile_rows; }
  int64_t rows_of(int64_t tile) const {
    return std::min(tile_rows, rows - first_row(tile));
  }
};

// Rows are all dimensions but the last.
inline Tiling RowTiling(const Shape& shape, int element_bytes,
                        int64_t row_multiple) {
  Tiling tiling;
  tiling.cols = shape.empty() ? 1 : shape.back();
  tiling.rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) tiling.rows *= shape[i];
  tiling.row_bytes = tiling.cols * element_bytes;
  const int64_t multiples = kTileElements / (tiling.cols * row_multiple);
  tiling.tile_rows = std::max<int64_t>(multiples, 1) * row_multiple;
  return tiling;
}

inline Tiling CopyTiling(int64_t bytes) {
  return {
      .rows = bytes, .cols = 1, .row_bytes = 1, .tile_rows = kCopyTileBytes};
}

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_TILING_H_

#include "core/calibrate/statistics.h"

#include <utility>

#include "core/base/checked_math.h"
#include "core/kernels/column_ranges.h"
#include "core/kernels/gemm.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

// Side of a tile of the Hessian: products are faster the larger it is. Of tiles
// on the diagonal, of which half counts, the lower left quarter is left out.
constexpr int64_t kTile = 384;
// Tokens at a time. Columns are laid out in panels of a tile's width first:
// rows of wide inputs lie on a page each, and every panel is read many times.
constexpr int64_t kBatch = 512;

}  // namespace

InputStatistics::InputStatistics(int64_t columns, bool with_hessian)
    : columns_(columns),
      lo_(columns),
      hi_(columns),
      sum_squares_(columns),
      hessian_(with_hessian ? columns * columns : 0) {}

InputStatistics::InputStatistics(StatisticsValues values)
    : columns_(static_cast<int64_t>(values.lo.size())),
      tokens_(values.tokens),
      lo_(std::move(values.lo)),
      hi_(std::move(values.hi)),
      sum_squares_(std::move(values.sum_squares)),
      hessian_(std::move(values.hessian)) {}

int64_t InputStatistics::Bytes(int64_t columns, bool with_hessian) {
  return columns * static_cast<int64_t>(2 * sizeof(float) + sizeof(double)) +
         (with_hessian ? columns * columns : 0) *
             static_cast<int64_t>(sizeof(float));
}

int64_t InputStatistics::ScratchBytes(int64_t columns, int64_t rows) {
  return std::min(rows, kBatch) * columns * static_cast<int64_t>(sizeof(float));
}

void InputStatistics::Add(ThreadPool& pool, const float* x, int64_t rows) {
  std::vector<float> panels;
  if (!hessian_.empty()) panels.resize(std::min(rows, kBatch) * columns_);
  for (int64_t row = 0; row < rows; row += kBatch) {
    const int64_t batch = std::min(kBatch, rows - row);
    AddColumns(pool, x + row * columns_, batch, panels.data());
    if (!hessian_.empty()) AddHessian(pool, panels.data(), batch);
  }
  tokens_ += rows;
}

void InputStatistics::Divide(absl::Span<const float> factors) {
  for (int64_t i = 0; i < columns_; ++i) {
    const float factor = factors[i];
    lo_[i] /= factor;
    hi_[i] /= factor;
    sum_squares_[i] /= static_cast<double>(factor) * factor;
    if (hessian_.empty()) continue;
    float* row = hessian_.data() + i * columns_;
    for (int64_t j = i; j < columns_; ++j) row[j] /= factor * factors[j];
  }
}

void InputStatistics::AddColumns(ThreadPool& pool, const float* x, int64_t rows,
                                 float* panels) {
  ParallelFor(pool, CeilDiv(columns_, kTile), [&](int64_t panel) {
    const int64_t begin = panel * kTile;
    const int64_t width = std::min(kTile, columns_ - begin);
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = x + r * columns_ + begin;
      AddColumnRanges(row, width, &lo_[begin], &hi_[begin],
                      &sum_squares_[begin]);
      if (panels == nullptr) continue;
      std::copy_n(row, width, panels + begin * rows + r * width);
    }
  });
}

void InputStatistics::AddHessian(ThreadPool& pool, const float* panels,
                                 int64_t rows) {
  // Columns [row, row + m) by [col, col + n), each within a panel.
  const auto add = [&](int64_t row, int64_t m, int64_t col, int64_t n) {
    const auto place = [&](int64_t column) {
      const int64_t begin = column / kTile * kTile;
      return std::pair(panels + begin * rows + (column - begin),
                       std::min(kTile, columns_ - begin));
    };
    const auto [x, x_stride] = place(row);
    const auto [w, w_stride] = place(col);
    Gemm({.m = m,
          .n = n,
          .k = rows,
          .x = x,
          .x_stride = x_stride,
          .x_is_km = true,
          .w = w,
          .w_stride = w_stride,
          .w_is_kn = true,
          .y = hessian_.data() + row * columns_ + col,
          .y_stride = columns_,
          .alpha = 2,
          .beta = 1});
  };
  const int64_t side = CeilDiv(columns_, kTile);
  ParallelFor(pool, side * (side + 1) / 2, [&](int64_t t) {
    int64_t column = 0;  // of tiles; column c has c + 1 of them
    while (t > column) t -= ++column;
    const int64_t row = t * kTile, col = column * kTile;
    const int64_t m = std::min(kTile, columns_ - row);
    const int64_t n = std::min(kTile, columns_ - col);
    if (t < column) return add(row, m, col, n);
    const int64_t half = std::min(n, kTile / 2);
    add(row, half, col, n);
    add(row + half, m - half, col + half, n - half);
  });
}

}  // namespace quant

#include "core/calibrate/statistics.h"

#include <utility>

#include "core/base/checked_math.h"
#include "core/kernels/gemm.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

// Side of a tile of the Hessian. The tiles on the diagonal are computed whole,
// which is less the smaller they are; products are faster the larger they are.
constexpr int64_t kTile = 384;
constexpr int64_t kColumnsAtATime = 64;

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

void InputStatistics::Add(ThreadPool& pool, const float* x, int64_t rows) {
  if (rows == 0) return;
  AddColumns(pool, x, rows);
  if (!hessian_.empty()) AddHessian(pool, x, rows);
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

void InputStatistics::AddColumns(ThreadPool& pool, const float* x,
                                 int64_t rows) {
  ParallelFor(pool, CeilDiv(columns_, kColumnsAtATime), [&](int64_t piece) {
    const int64_t begin = piece * kColumnsAtATime;
    const int64_t end = std::min(columns_, begin + kColumnsAtATime);
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = x + r * columns_;
      for (int64_t i = begin; i < end; ++i) {
        lo_[i] = std::min(lo_[i], row[i]);
        hi_[i] = std::max(hi_[i], row[i]);
        sum_squares_[i] += static_cast<double>(row[i]) * row[i];
      }
    }
  });
}

void InputStatistics::AddHessian(ThreadPool& pool, const float* x,
                                 int64_t rows) {
  const int64_t side = CeilDiv(columns_, kTile);
  ParallelFor(pool, side * (side + 1) / 2, [&](int64_t t) {
    int64_t column = 0;  // of tiles; column c has c + 1 of them
    while (t > column) t -= ++column;
    const int64_t row = t * kTile;
    const int64_t col = column * kTile;
    Gemm({.m = std::min(kTile, columns_ - row),
          .n = std::min(kTile, columns_ - col),
          .k = rows,
          .x = x + row,
          .x_stride = columns_,
          .x_is_km = true,
          .w = x + col,
          .w_stride = columns_,
          .w_is_kn = true,
          .y = hessian_.data() + row * columns_ + col,
          .y_stride = columns_,
          .alpha = 2,
          .beta = 1});
  });
}

}  // namespace quant

// What the inputs of one or several weights look like over a calibration text.
//
//   H = 2 sum over tokens of x x^T
//
// in float32, in tiles and batches that shapes alone determine: the same bits
// at any number of threads, on one kind of CPU.
//
// Legend: I input columns, R rows (tokens) of a batch.
#ifndef QUANT_CORE_CALIBRATE_STATISTICS_H_
#define QUANT_CORE_CALIBRATE_STATISTICS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/base/thread_pool.h"

namespace quant {

// As InputStatistics keeps them, below.
struct StatisticsValues {
  int64_t tokens = 0;
  std::vector<float> lo = {};  // [I], as all but the last
  std::vector<float> hi = {};
  std::vector<double> sum_squares = {};
  std::vector<float> hessian = {};  // [I, I], or empty
};

class InputStatistics {
 public:
  InputStatistics(int64_t columns, bool with_hessian);
  // Those that were kept; all of one number of columns.
  explicit InputStatistics(StatisticsValues values);

  // x [R, I] of the next tokens.
  void Add(ThreadPool& pool, const float* x, int64_t rows);

  // Those of the same inputs divided by `factors` [I], > 0.
  void Divide(absl::Span<const float> factors);

  int64_t columns() const { return columns_; }
  int64_t tokens() const { return tokens_; }
  // Per column, 0 before any token.
  const std::vector<float>& lo() const { return lo_; }
  const std::vector<float>& hi() const { return hi_; }
  const std::vector<double>& sum_squares() const { return sum_squares_; }
  float absmax(int64_t column) const {
    return std::max(-lo_[column], hi_[column]);
  }
  // [I, I], of which the upper triangle counts; empty when not asked for.
  const std::vector<float>& hessian() const { return hessian_; }

  static int64_t Bytes(int64_t columns, bool with_hessian);
  // What Add takes beside them, when there is a Hessian.
  static int64_t ScratchBytes(int64_t columns, int64_t rows);

 private:
  // Of x [R, I]; copies it into panels of columns, unless there are none:
  // behind each other, [R, its width] each.
  void AddColumns(ThreadPool& pool, const float* x, int64_t rows,
                  float* panels);
  void AddHessian(ThreadPool& pool, const float* panels, int64_t rows);

  int64_t columns_;
  int64_t tokens_ = 0;
  std::vector<float> lo_;
  std::vector<float> hi_;
  std::vector<double> sum_squares_;
  std::vector<float> hessian_;
};

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_STATISTICS_H_

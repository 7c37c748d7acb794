#include "core/pipeline/sample_error.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/pipeline/tensor_job.h"
#include "core/transform/load_rows.h"

namespace quant {
namespace {

constexpr int64_t kMaxSampleRows = 64;

// Rows that are read: `count` runs of `run` rows (fewer at the end), since some
// schemes share scales between rows.
struct Sample {
  int64_t run = 1;
  std::vector<int64_t> first_rows;
};

Sample ChooseRows(const TensorJob& job) {
  const Tiling& tiling = job.tiling;
  Sample sample;
  for (const TensorTask& task : job.tasks) {
    sample.run = std::max(sample.run, task.codec->row_multiple());
  }
  const int64_t rows =
      std::clamp<int64_t>(kTileElements / tiling.cols, 1, kMaxSampleRows);
  const int64_t runs = CeilDiv(tiling.rows, sample.run);
  const int64_t count =
      std::clamp<int64_t>(rows / sample.run, 1, std::max<int64_t>(runs, 1));
  for (int64_t i = 0; i < count && runs > 0; ++i) {
    // In the middle of equal parts.
    sample.first_rows.push_back((2 * i + 1) * runs / (2 * count) * sample.run);
  }
  return sample;
}

// One plan per scheme, so that each is done as it would be in earnest.
Plan PlanOf(int index, const OutputRequest& request,
            const std::vector<Scheme>& schemes) {
  Plan plan;
  plan.order = {index};
  for (const Scheme& scheme : schemes) {
    OutputPlan& output = plan.outputs.emplace_back();
    output.request = request;
    output.request.rules.clear();
    TensorPlan& tensor = output.tensors.emplace_back();
    tensor.source = index;
    tensor.quantized = true;
    tensor.scheme = scheme;
  }
  return plan;
}

class Sampler {
 public:
  Sampler(const ModelReader& model, const TensorJob& job)
      : model_(model), job_(job), sample_(ChooseRows(job)) {}

  absl::StatusOr<SampledErrors> Run() {
    QUANT_RETURN_IF_ERROR(Load());
    SampledErrors errors;
    double signal = 0;
    for (const TensorTask& task : job_.tasks) {
      const ErrorSums sums = Quantize(task);
      errors.noise.push_back(sums.noise * Factor());
      signal = sums.signal;
    }
    errors.signal = signal * Factor();
    return errors;
  }

 private:
  int64_t RowsOf(size_t run) const {
    return std::min(sample_.run, job_.tiling.rows - sample_.first_rows[run]);
  }

  double Factor() const {
    return rows_ == 0 ? 0
                      : static_cast<double>(job_.tiling.rows) /
                            static_cast<double>(rows_);
  }

  absl::Status Load() {
    const Tiling& tiling = job_.tiling;
    for (size_t i = 0; i < sample_.first_rows.size(); ++i) {
      const int64_t rows = RowsOf(i);
      std::vector<uint8_t> bytes(rows * tiling.row_bytes);
      QUANT_RETURN_IF_ERROR(
          model_.Read(*job_.source, sample_.first_rows[i] * tiling.row_bytes,
                      absl::MakeSpan(bytes)));
      values_.resize((rows_ + rows) * tiling.cols);
      LoadRows(job_.source->dtype, bytes, Nonfinite::kZero,
               absl::MakeSpan(values_).subspan(rows_ * tiling.cols));
      rows_ += rows;
    }
    return absl::OkStatus();
  }

  ErrorSums Quantize(const TensorTask& task) {
    const int64_t cols = job_.tiling.cols;
    weight_ = 0;
    TensorStats stats;
    for (int pass = 0; pass < task.reduce_passes; ++pass) {
      const TensorStats found =
          task.method->Reduce(pass, *task.codec, task.options, values_.data(),
                              rows_, cols, stats, scratch_);
      task.method->Combine(pass, found, stats);
    }
    ErrorSums sums;
    const float* x = values_.data();
    for (size_t i = 0; i < sample_.first_rows.size(); ++i) {
      const int64_t rows = RowsOf(i);
      codes_.first_row = sample_.first_rows[i];
      const ErrorSums plain = task.method->Quantize(
          *task.codec, task.options, stats, x, rows, cols, codes_, scratch_);
      sums.Add(task.options.importance == nullptr ? plain
                                                  : Weighted(task, x, rows));
      x += rows * cols;
    }
    // Importance is 1 on average.
    if (weight_ > 0) {
      const double mean = weight_ / static_cast<double>(rows_ * cols);
      sums.noise /= mean;
      sums.signal /= mean;
    }
    return sums;
  }

  // The errors of the codes of `rows` rows, each times the importance of its
  // column; adds up the importance.
  ErrorSums Weighted(const TensorTask& task, const float* x, int64_t rows) {
    const int64_t cols = job_.tiling.cols;
    decoded_.resize(cols);
    ErrorSums sums;
    for (int64_t r = 0; r < rows; ++r, x += cols) {
      const float* weights =
          task.options.ImportanceOf(codes_.first_row + r, cols);
      task.codec->DecodeRow(
          codes_.codes.data() + r * task.codec->row_bytes(cols), cols,
          task.codec->ScalesOfRow(codes_, r, task.options.narrow),
          decoded_.data());
      for (int64_t c = 0; c < cols; ++c) {
        const double weight = weights[c];
        const double error = double{decoded_[c]} - x[c];
        sums.noise += weight * error * error;
        sums.signal += weight * double{x[c]} * x[c];
        weight_ += weight;
      }
    }
    return sums;
  }

  const ModelReader& model_;
  const TensorJob& job_;
  const Sample sample_;
  int64_t rows_ = 0;            // in the sample
  std::vector<float> values_;   // [rows_, cols]
  std::vector<float> decoded_;  // a row
  double weight_ = 0;           // sum of the importance of all values
  CodeTile codes_;
  MethodScratch scratch_;
};

}  // namespace

absl::StatusOr<SampledErrors> SampleErrors(const ModelReader& model, int index,
                                           const OutputRequest& request,
                                           const std::vector<Scheme>& schemes) {
  if (schemes.empty()) return SampledErrors();
  const Plan plan = PlanOf(index, request, schemes);
  QUANT_ASSIGN_OR_RETURN(const TensorJob job, MakeTensorJob(model, plan, 0));
  return Sampler(model, job).Run();
}

}  // namespace quant

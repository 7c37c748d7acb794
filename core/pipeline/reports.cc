#include "core/pipeline/reports.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"
#include "core/pipeline/layout.h"
#include "core/pipeline/value_model.h"
#include "core/transform/load_rows.h"

namespace quant {
namespace {

// Of every weight, spread evenly.
constexpr int64_t kSampleRows = 16;

// The number in "model.layers.3.mlp" and "blk.3.ffn_down"; -1 without one.
int64_t LayerIn(const std::string& name) {
  for (absl::string_view part : absl::StrSplit(name, '.')) {
    int64_t layer = 0;
    if (absl::SimpleAtoi(part, &layer) && layer >= 0) return layer;
  }
  return -1;
}

ReportTensor PlannedTensor(const TensorEntry& source, const TensorPlan& plan) {
  ReportTensor tensor{.name = source.name,
                      .role = plan.role,
                      .layer = LayerIn(source.name),
                      .reason = plan.reason,
                      .bytes = plan.output_bytes,
                      .weights = NumElements(source.shape).value_or(0)};
  if (plan.quantized) {
    tensor.scheme = plan.scheme.name;
    tensor.method = plan.method;
  }
  if (tensor.weights > 0) {
    tensor.bits_per_weight = 8.0 * static_cast<double>(tensor.bytes) /
                             static_cast<double>(tensor.weights);
  }
  return tensor;
}

int64_t Columns(const TensorEntry& tensor) {
  return tensor.shape.empty() ? 1 : std::max<int64_t>(tensor.shape.back(), 1);
}

// Some rows of a tensor of floats.
absl::StatusOr<std::vector<float>> SampleRows(const ModelReader& model,
                                              const TensorEntry& tensor) {
  const int64_t cols = Columns(tensor);
  const int64_t rows = NumElements(tensor.shape).value_or(0) / cols;
  const int64_t count = std::min(rows, kSampleRows);
  const int64_t row_bytes = cols * (DTypeBits(tensor.dtype) / 8);
  std::vector<uint8_t> bytes(row_bytes);
  std::vector<float> values(count * cols);
  for (int64_t i = 0; i < count; ++i) {
    // In the middle of equal parts.
    const int64_t row = (2 * i + 1) * rows / (2 * count);
    QUANT_RETURN_IF_ERROR(
        model.Read(tensor, row * row_bytes, absl::MakeSpan(bytes)));
    LoadRows(tensor.dtype, bytes, Nonfinite::kZero,
             absl::MakeSpan(values.data() + i * cols, cols));
  }
  return values;
}

double RootMeanSquare(const std::vector<float>& values) {
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value) * value;
  return values.empty() ? 0
                        : std::sqrt(sum / static_cast<double>(values.size()));
}

void Count(const std::vector<float>& values, double unit,
           std::array<int64_t, kHistogramBins>& bins) {
  const double width = 2 * kHistogramRange / kHistogramBins;
  for (float value : values) {
    const double x =
        std::clamp(value / unit, -kHistogramRange, kHistogramRange);
    const auto bin = static_cast<int64_t>((x + kHistogramRange) / width);
    ++bins[std::min<int64_t>(bin, kHistogramBins - 1)];
  }
}

// Fills the histograms of a planned report.
class Histograms {
 public:
  Histograms(const ReportRequest& request, const ModelReader& made,
             Report& report)
      : request_(request), made_(made), report_(report) {}

  absl::Status Run() {
    const OutputPlan& output = request_.plan->outputs[request_.index];
    std::atomic<size_t> next{0};
    std::mutex mutex;
    absl::Status status;
    request_.options->pool->RunOnAll([&](int) {
      for (size_t i = next++; i < output.tensors.size(); i = next++) {
        if (!output.tensors[i].quantized) continue;
        const absl::Status added = Add(output.tensors[i], mutex);
        if (added.ok()) continue;
        std::lock_guard lock(mutex);
        if (status.ok()) status = added;
        return;
      }
    });
    return status;
  }

 private:
  absl::Status Add(const TensorPlan& plan, std::mutex& mutex) {
    if (request_.options->stop.stop_requested()) {
      return absl::CancelledError("report: stopped");
    }
    const TensorEntry& source = request_.model->tensors()[plan.source];
    const TensorEntry* made = Find(source.name);
    if (made == nullptr || !IsWeightFloat(source.dtype) ||
        !IsWeightFloat(made->dtype)) {
      return absl::OkStatus();
    }
    QUANT_ASSIGN_OR_RETURN(const std::vector<float> before,
                           SampleRows(*request_.model, source));
    QUANT_ASSIGN_OR_RETURN(const std::vector<float> after,
                           SampleRows(made_, *made));
    const double unit = RootMeanSquare(before);
    if (unit == 0) return absl::OkStatus();
    ReportHistogram counted;
    Count(before, unit, counted.source);
    Count(after, unit, counted.made);
    std::lock_guard lock(mutex);
    for (ReportHistogram& histogram : report_.histograms) {
      if (histogram.role != plan.role) continue;
      for (int i = 0; i < kHistogramBins; ++i) {
        histogram.source[i] += counted.source[i];
        histogram.made[i] += counted.made[i];
      }
    }
    return absl::OkStatus();
  }

  const TensorEntry* Find(const std::string& name) const {
    const std::vector<TensorEntry>& tensors = made_.tensors();
    const auto it =
        std::lower_bound(tensors.begin(), tensors.end(), name,
                         [](const TensorEntry& tensor, const std::string& n) {
                           return tensor.name < n;
                         });
    return it == tensors.end() || it->name != name ? nullptr : &*it;
  }

  const ReportRequest& request_;
  const ModelReader& made_;
  Report& report_;
};

}  // namespace

Report PlannedReport(const ModelReader& model, const OutputPlan& output,
                     const EvaluationText* evaluation,
                     const std::vector<Gate>& gates) {
  Report report{.engine_version = kVersion,
                .output = output.request.name,
                .recipe_json = output.request.recipe_json};
  std::set<std::string> roles;
  for (const TensorPlan& tensor : output.tensors) {
    report.tensors.push_back(
        PlannedTensor(model.tensors()[tensor.source], tensor));
    if (tensor.quantized) roles.insert(tensor.role);
  }
  for (const std::string& role : roles) {
    report.histograms.push_back({.role = role});
  }
  if (evaluation != nullptr) {
    for (const std::string& name : EvaluationMetrics()) {
      report.evaluation.push_back({.name = name});
    }
    for (const LayerConfig& layer : evaluation->network.layers) {
      report.layers.emplace_back();
      if (!layer.sparse) continue;
      report.layers.back().expert_tokens.resize(evaluation->network.experts);
    }
  }
  for (const Gate& gate : gates) {
    if (!AppliesTo(gate, output.request.name)) continue;
    report.gates.push_back({.gate = GateText(gate)});
  }
  return report;
}

std::vector<PlannedFile> PlannedReportFiles(const Report& report) {
  Report longest = report;
  LongestNumbers(longest);
  const auto size = [](const std::string& text) {
    return static_cast<int64_t>(text.size());
  };
  return {{kReportHtml, size(ReportToHtml(longest))},
          {kReportJson, size(ReportToJson(longest))}};
}

absl::StatusOr<Report> MakeReport(const ReportRequest& request) {
  const OutputPlan& output = request.plan->outputs[request.index];
  Report report =
      PlannedReport(*request.model, output, request.plan->evaluation.get(),
                    request.plan->gates);
  report.total_bytes = output.total_bytes;
  report.bits_per_weight = output.bits_per_weight;
  for (const auto& [index, record] : request.journal->done()) {
    const ErrorSums& sums = record.outputs[request.index].sums;
    ReportTensor& tensor = report.tensors[index];
    tensor.noise = sums.noise;
    tensor.signal = sums.signal;
    tensor.max_abs_error = sums.max_abs_error;
  }
  for (ReportFigure& figure : report.evaluation) {
    figure.value = request.made->metrics.at(figure.name);
  }
  for (size_t i = 0; i < report.layers.size(); ++i) {
    const LayerFigures& figures = request.made->layers.at(i);
    report.layers[i] = {.noise = figures.noise,
                        .signal = figures.signal,
                        .expert_tokens = figures.expert_tokens};
  }
  for (size_t i = 0; i < report.gates.size(); ++i) {
    report.gates[i].value = (*request.verdicts)[i].value;
    report.gates[i].passed = (*request.verdicts)[i].passed;
  }
  QUANT_ASSIGN_OR_RETURN(const ValueModel made,
                         ValueModel::Open(request.made->directory));
  QUANT_RETURN_IF_ERROR(Histograms(request, made.values(), report).Run());
  return report;
}

}  // namespace quant

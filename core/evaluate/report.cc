#include "core/evaluate/report.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace quant {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kLongestCount = std::numeric_limits<int64_t>::min();

// 10 log10(signal / noise); null without noise. Of tensors and layers.
template <typename Sums>
Json SqnrOf(const Sums& sums) {
  if (sums.noise < 0) return kLongestNumber;
  if (sums.noise == 0) return nullptr;
  return 10 * std::log10(sums.signal / sums.noise);
}

Json LayersJson(const std::vector<ReportLayer>& layers) {
  Json out = Json::array();
  for (size_t i = 0; i < layers.size(); ++i) {
    Json layer;
    layer["layer"] = i;
    layer["output_sqnr_db"] = SqnrOf(layers[i]);
    if (!layers[i].expert_tokens.empty()) {
      layer["expert_tokens"] = layers[i].expert_tokens;
    }
    out.push_back(std::move(layer));
  }
  return out;
}

Json TensorJson(const ReportTensor& tensor) {
  Json out;
  out["name"] = tensor.name;
  out["role"] = tensor.role;
  if (tensor.layer >= 0) out["layer"] = tensor.layer;
  if (!tensor.scheme.empty()) {
    out["scheme"] = tensor.scheme;
    out["method"] = tensor.method;
  }
  out["reason"] = tensor.reason;
  out["bits_per_weight"] = tensor.bits_per_weight;
  out["bytes"] = tensor.bytes;
  if (!tensor.scheme.empty()) {
    out["noise"] = tensor.noise;
    out["signal"] = tensor.signal;
    out["sqnr_db"] = SqnrOf(tensor);
    out["max_abs_error"] = tensor.max_abs_error;
  }
  return out;
}

Json HistogramsJson(const std::vector<ReportHistogram>& histograms) {
  Json out;
  out["unit"] = "root mean square of the tensor";
  out["from"] = -kHistogramRange;
  out["to"] = kHistogramRange;
  out["roles"] = Json::array();
  for (const ReportHistogram& histogram : histograms) {
    out["roles"].push_back({{"role", histogram.role},
                            {"source", histogram.source},
                            {"quantized", histogram.made}});
  }
  return out;
}

}  // namespace

void LongestNumbers(Report& report) {
  for (ReportTensor& tensor : report.tensors) {
    tensor.bits_per_weight = kLongestNumber;
    tensor.noise = tensor.signal = tensor.max_abs_error = kLongestNumber;
  }
  for (ReportHistogram& histogram : report.histograms) {
    histogram.source.fill(kLongestCount);
    histogram.made.fill(kLongestCount);
  }
  for (ReportFigure& figure : report.evaluation) figure.value = kLongestNumber;
  for (ReportLayer& layer : report.layers) {
    layer.noise = layer.signal = kLongestNumber;
    for (int64_t& tokens : layer.expert_tokens) tokens = kLongestCount;
  }
  for (ReportVerdict& verdict : report.gates) {
    verdict.value = kLongestNumber;
    verdict.passed = false;
  }
  report.total_bytes = kLongestCount;
  report.bits_per_weight = kLongestNumber;
}

std::string ReportToJson(const Report& report, int64_t least_bytes) {
  Json out;
  out["engine"] = "quantd";
  out["engine_version"] = report.engine_version;
  out["output"] = report.output;
  out["recipe"] = Json::parse(report.recipe_json, nullptr, false);
  if (out["recipe"].is_discarded()) out["recipe"] = nullptr;
  out["total_bytes"] = report.total_bytes;
  out["bits_per_weight"] = report.bits_per_weight;
  for (const ReportFigure& figure : report.evaluation) {
    out["evaluation"][figure.name] = figure.value;
  }
  if (!report.layers.empty()) out["layers"] = LayersJson(report.layers);
  out["gates"] = Json::array();
  for (const ReportVerdict& verdict : report.gates) {
    out["gates"].push_back({{"gate", verdict.gate},
                            {"value", verdict.value},
                            {"passed", verdict.passed}});
  }
  out["tensors"] = Json::array();
  for (const ReportTensor& tensor : report.tensors) {
    out["tensors"].push_back(TensorJson(tensor));
  }
  out["histograms"] = HistogramsJson(report.histograms);
  std::string text =
      out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  const int64_t missing = least_bytes - static_cast<int64_t>(text.size());
  if (missing > 0) text.insert(text.size() - 1, missing, ' ');
  return text;
}

}  // namespace quant

#include "core/pipeline/gates.h"

#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/error.h"

namespace quant {
namespace {

bool Holds(double value, Comparison comparison, double threshold) {
  switch (comparison) {
    case Comparison::kLessOrEqual:
      return value <= threshold;
    case Comparison::kLess:
      return value < threshold;
    case Comparison::kGreaterOrEqual:
      return value >= threshold;
    case Comparison::kGreater:
      return value > threshold;
  }
  return false;
}

}  // namespace

absl::string_view ComparisonText(Comparison comparison) {
  switch (comparison) {
    case Comparison::kLessOrEqual:
      return "<=";
    case Comparison::kLess:
      return "<";
    case Comparison::kGreaterOrEqual:
      return ">=";
    case Comparison::kGreater:
      return ">";
  }
  return "?";
}

std::string GateText(const Gate& gate) {
  // Enough digits for any size in bytes.
  std::string text =
      absl::StrCat(gate.metric, " ", ComparisonText(gate.comparison),
                   absl::StrFormat(" %.15g", gate.threshold));
  if (!gate.output.empty()) absl::StrAppend(&text, " (", gate.output, ")");
  return text;
}

const std::vector<GateMetric>& GateMetricTable() {
  static const auto* table =
      new std::vector<GateMetric>{{"size_bytes"},
                                  {"bits_per_weight"},
                                  {"min_sqnr_db"},
                                  {"perplexity_ratio", true},
                                  {"perplexity_delta", true},
                                  {"kl_mean", true},
                                  {"kl_p99", true},
                                  {"top1_agreement", true}};
  return *table;
}

absl::Status CheckHasText(const Gate& gate, bool has_text) {
  if (has_text) return absl::OkStatus();
  for (const GateMetric& metric : GateMetricTable()) {
    if (metric.name != gate.metric || !metric.needs_evaluation) continue;
    return InvalidSpec(
        absl::StrCat("gate \"", GateText(gate),
                     "\": needs a text to evaluate the result on; give one "
                     "(--evaluate FILE, JobSpec.evaluation), or use the "
                     "nearest metric that "
                     "needs none, \"min_sqnr_db\""),
        "metric");
  }
  return absl::OkStatus();
}

GateVerdict Judge(const Gate& gate,
                  const std::map<std::string, double>& metrics) {
  GateVerdict verdict{.gate = gate};
  const auto it = metrics.find(gate.metric);
  if (it != metrics.end()) {
    verdict.value = it->second;
  } else {
    verdict.value = absl::EndsWith(gate.metric, "sqnr_db")
                        ? std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::quiet_NaN();
  }
  verdict.passed = Holds(verdict.value, gate.comparison, gate.threshold);
  return verdict;
}

}  // namespace quant

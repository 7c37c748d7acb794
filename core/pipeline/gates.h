// Conditions on the metrics of a result, which decide whether a job passes.
#ifndef QUANT_CORE_PIPELINE_GATES_H_
#define QUANT_CORE_PIPELINE_GATES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quant {

enum class Comparison { kLessOrEqual, kLess, kGreaterOrEqual, kGreater };

struct Gate {
  std::string metric;
  Comparison comparison = Comparison::kLessOrEqual;
  double threshold = 0;
  std::string output;  // empty: all
};

// "min_sqnr_db >= 18", and " (name)" where it is for one output.
std::string GateText(const Gate& gate);
absl::string_view ComparisonText(Comparison comparison);

struct GateMetric {
  absl::string_view name;
  bool needs_evaluation = false;  // an evaluation text
};
const std::vector<GateMetric>& GateMetricTable();

// INVALID_ARGUMENT for a gate whose metric needs a text when there is none: the
// error says how to give one.
absl::Status CheckHasText(const Gate& gate, bool has_text);

struct GateVerdict {
  Gate gate;
  double value = 0;
  bool passed = false;
};

inline bool AppliesTo(const Gate& gate, absl::string_view output) {
  return gate.output.empty() || gate.output == output;
}
// A missing SQNR means that nothing was lost: +inf. What else is missing is
// NaN, which passes nothing.
GateVerdict Judge(const Gate& gate,
                  const std::map<std::string, double>& metrics);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_GATES_H_

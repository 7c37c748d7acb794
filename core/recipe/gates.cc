// recipe.h: gates as text, and their verdicts.
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/recipe/recipe.h"
#include "core/recipe/scheme_proto.h"

namespace quant {
namespace {

struct Operator {
  absl::string_view text;
  v1::Gate::Comparison comparison;
};

// Longer operators first.
constexpr Operator kOperators[] = {
    {"<=", v1::Gate::LESS_OR_EQUAL},
    {">=", v1::Gate::GREATER_OR_EQUAL},
    {"<", v1::Gate::LESS},
    {">", v1::Gate::GREATER},
};

bool Holds(double value, v1::Gate::Comparison comparison, double threshold) {
  switch (comparison) {
    case v1::Gate::LESS_OR_EQUAL:
      return value <= threshold;
    case v1::Gate::LESS:
      return value < threshold;
    case v1::Gate::GREATER_OR_EQUAL:
      return value >= threshold;
    case v1::Gate::GREATER:
      return value > threshold;
    default:
      return false;
  }
}

// A missing SQNR means that nothing was lost: better than any threshold.
double ValueOf(const ExecutedOutput& output, const std::string& metric) {
  const auto it = output.metrics.find(metric);
  if (it != output.metrics.end()) return it->second;
  return std::numeric_limits<double>::infinity();
}

absl::Status CheckGate(const v1::JobSpec& spec, const v1::Gate& gate,
                       const std::string& field) {
  const std::vector<std::string> metrics = GateMetrics();
  bool known = false;
  for (const std::string& metric : metrics) known |= metric == gate.metric();
  if (!known) {
    return UnknownNameError("gate metric", gate.metric(), metrics,
                            field + ".metric");
  }
  if (gate.comparison() < v1::Gate::LESS_OR_EQUAL ||
      gate.comparison() > v1::Gate::GREATER) {
    return InvalidSpec("a comparison is required", field + ".comparison");
  }
  if (!std::isfinite(gate.threshold())) {
    return InvalidSpec("the threshold must be a finite number",
                       field + ".threshold");
  }
  if (gate.output().empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const v1::Output& output : spec.outputs()) {
    if (output.name() == gate.output()) return absl::OkStatus();
    names.push_back(output.name());
  }
  return UnknownNameError("output", gate.output(), names, field + ".output");
}

}  // namespace

std::vector<std::string> GateMetrics() {
  return {"size_bytes", "bits_per_weight", "min_sqnr_db"};
}

absl::Status CheckGates(const v1::JobSpec& spec) {
  if (spec.gates_size() > kMaxGatesPerJob) {
    return InvalidSpec(absl::StrCat(spec.gates_size(), " gates; at most ",
                                    kMaxGatesPerJob, " are allowed"),
                       "gates");
  }
  for (int i = 0; i < spec.gates_size(); ++i) {
    QUANT_RETURN_IF_ERROR(
        CheckGate(spec, spec.gates(i), absl::StrCat("gates[", i, "]")));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Gate> ParseGate(absl::string_view text) {
  const auto malformed = [&] {
    return InvalidSpec(absl::StrCat("gate \"",
                                    absl::CHexEscape(text.substr(0, 200)),
                                    "\"; write METRIC OPERATOR NUMBER, e.g. "
                                    "\"min_sqnr_db >= 18\"; operators: <=, <, "
                                    ">=, >"));
  };
  for (const Operator& candidate : kOperators) {
    const size_t at = text.find(candidate.text);
    if (at == absl::string_view::npos) continue;
    v1::Gate gate;
    gate.set_metric(
        std::string(absl::StripAsciiWhitespace(text.substr(0, at))));
    gate.set_comparison(candidate.comparison);
    const absl::string_view number =
        absl::StripAsciiWhitespace(text.substr(at + candidate.text.size()));
    double threshold = 0;
    if (!absl::SimpleAtod(number, &threshold)) {
      const auto bytes = ParseBytes(number);
      if (!bytes.ok()) return malformed();
      threshold = static_cast<double>(*bytes);
    }
    if (!std::isfinite(threshold)) return malformed();
    gate.set_threshold(threshold);
    bool known = false;
    for (const std::string& metric : GateMetrics()) {
      known |= metric == gate.metric();
    }
    if (!known) {
      return UnknownNameError("gate metric", gate.metric(), GateMetrics());
    }
    return gate;
  }
  return malformed();
}

std::string GateToString(const v1::Gate& gate) {
  std::string text = gate.metric();
  for (const Operator& candidate : kOperators) {
    if (candidate.comparison == gate.comparison()) {
      absl::StrAppend(&text, " ", candidate.text);
    }
  }
  // Enough digits for any size in bytes.
  absl::StrAppend(&text, absl::StrFormat(" %.15g", gate.threshold()));
  if (!gate.output().empty()) absl::StrAppend(&text, " (", gate.output(), ")");
  return text;
}

std::vector<v1::GateResult> EvaluateGates(const v1::JobSpec& spec,
                                          const ExecuteResult& result) {
  std::vector<v1::GateResult> verdicts;
  for (const v1::Gate& gate : spec.gates()) {
    for (const ExecutedOutput& output : result.outputs) {
      if (!gate.output().empty() && gate.output() != output.name) continue;
      v1::GateResult& verdict = verdicts.emplace_back();
      *verdict.mutable_gate() = gate;
      verdict.set_output(output.name);
      const double value = ValueOf(output, gate.metric());
      verdict.set_value(value);
      verdict.set_passed(Holds(value, gate.comparison(), gate.threshold()));
    }
  }
  return verdicts;
}

}  // namespace quant

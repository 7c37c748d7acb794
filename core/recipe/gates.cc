// recipe.h: gates as text, and their verdicts.
#include "core/pipeline/gates.h"

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

Comparison ComparisonOf(v1::Gate::Comparison comparison) {
  switch (comparison) {
    case v1::Gate::LESS:
      return Comparison::kLess;
    case v1::Gate::GREATER_OR_EQUAL:
      return Comparison::kGreaterOrEqual;
    case v1::Gate::GREATER:
      return Comparison::kGreater;
    default:
      return Comparison::kLessOrEqual;
  }
}

v1::Gate::Comparison ToProto(Comparison comparison) {
  for (const Operator& candidate : kOperators) {
    if (ComparisonOf(candidate.comparison) == comparison) {
      return candidate.comparison;
    }
  }
  return v1::Gate::COMPARISON_UNSPECIFIED;
}

v1::GateResult ToProto(const GateVerdict& verdict, const std::string& output) {
  v1::GateResult out;
  out.mutable_gate()->set_metric(verdict.gate.metric);
  out.mutable_gate()->set_comparison(ToProto(verdict.gate.comparison));
  out.mutable_gate()->set_threshold(verdict.gate.threshold);
  out.mutable_gate()->set_output(verdict.gate.output);
  out.set_output(output);
  out.set_value(verdict.value);
  out.set_passed(verdict.passed);
  return out;
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
  const absl::Status text = CheckHasText(GateOf(gate), spec.has_evaluation());
  if (!text.ok()) return Annotate(text, "", field + ".");
  if (gate.output().empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const v1::Output& output : spec.outputs()) {
    if (output.name() == gate.output()) return absl::OkStatus();
    names.push_back(output.name());
  }
  return UnknownNameError("output", gate.output(), names, field + ".output");
}

absl::Status CheckOnFailure(const v1::JobSpec& spec) {
  if (!v1::JobSpec::OnGateFailure_IsValid(spec.on_gate_failure())) {
    return InvalidSpec(absl::StrCat("unknown value ", spec.on_gate_failure()),
                       "on_gate_failure");
  }
  if (spec.on_gate_failure() != v1::JobSpec::ESCALATE) return absl::OkStatus();
  for (const v1::Gate& gate : spec.gates()) {
    if (gate.metric() != "size_bytes" && gate.metric() != "bits_per_weight") {
      return absl::OkStatus();
    }
  }
  return InvalidSpec(
      "to escalate needs a gate that better schemes can pass, such as "
      "\"kl_mean <= 0.02\" or \"min_sqnr_db >= 18\"",
      "on_gate_failure");
}

}  // namespace

std::vector<std::string> GateMetrics() {
  std::vector<std::string> names;
  for (const GateMetric& metric : GateMetricTable()) {
    names.emplace_back(metric.name);
  }
  return names;
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
  return CheckOnFailure(spec);
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

Gate GateOf(const v1::Gate& gate) {
  return {.metric = gate.metric(),
          .comparison = ComparisonOf(gate.comparison()),
          .threshold = gate.threshold(),
          .output = gate.output()};
}

std::string GateToString(const v1::Gate& gate) {
  return GateText(GateOf(gate));
}

std::vector<v1::EscalationStep> EscalationOf(const ExecuteResult& result) {
  std::vector<v1::EscalationStep> steps;
  for (const ExecutedOutput& output : result.outputs) {
    for (const EscalationStep& step : output.steps) {
      v1::EscalationStep& out = steps.emplace_back();
      out.set_output(output.name);
      for (const GateVerdict& verdict : step.verdicts) {
        *out.add_gates() = ToProto(verdict, output.name);
      }
      for (const RaisedTensor& tensor : step.tensors) {
        v1::EscalationStep::RaisedTensor& item = *out.add_tensors();
        item.set_name(tensor.name);
        item.set_from(tensor.from);
        item.set_to(tensor.to);
        item.set_relative_error(tensor.relative_error);
      }
    }
  }
  return steps;
}

std::vector<v1::GateResult> EvaluateGates(const v1::JobSpec& spec,
                                          const ExecuteResult& result) {
  std::vector<v1::GateResult> verdicts;
  for (const v1::Gate& gate : spec.gates()) {
    const Gate condition = GateOf(gate);
    for (const ExecutedOutput& output : result.outputs) {
      if (!AppliesTo(condition, output.name)) continue;
      verdicts.push_back(
          ToProto(Judge(condition, output.metrics), output.name));
    }
  }
  return verdicts;
}

}  // namespace quant

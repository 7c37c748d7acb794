#include "core/pipeline/escalate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/pipeline/decide.h"

namespace quant {
namespace {

using Json = nlohmann::json;

// One in so many of the open items is raised at a time.
constexpr size_t kShare = 4;
constexpr int64_t kMaxFileBytes = int64_t{1} << 30;

bool IsOfSize(const std::string& metric) {
  return metric == "size_bytes" || metric == "bits_per_weight";
}

// How large an output may get; infinity: no matter.
struct Limits {
  double bytes = std::numeric_limits<double>::infinity();
  double bits_per_weight = std::numeric_limits<double>::infinity();

  bool Allow(const OutputPlan& plan) const {
    return static_cast<double>(plan.total_bytes) <= bytes &&
           plan.bits_per_weight <= bits_per_weight;
  }
};

Limits LimitsOf(const PlanRequest& request, const OutputRequest& output) {
  Limits limits;
  if (output.target && output.target->bytes > 0) {
    limits.bytes = static_cast<double>(output.target->bytes);
  } else if (output.target) {
    limits.bits_per_weight = output.target->bits_per_weight;
  }
  for (const Gate& gate : request.gates) {
    if (!AppliesTo(gate, output.name) || !IsOfSize(gate.metric) ||
        (gate.comparison != Comparison::kLessOrEqual &&
         gate.comparison != Comparison::kLess)) {
      continue;
    }
    double& limit =
        gate.metric == "size_bytes" ? limits.bytes : limits.bits_per_weight;
    const bool open = gate.comparison == Comparison::kLess;
    limit = std::min(
        limit, open ? std::nextafter(gate.threshold, 0.0) : gate.threshold);
  }
  return limits;
}

std::string NameOf(const std::optional<Scheme>& scheme) {
  return scheme ? scheme->name : "";
}

// The plan of every source tensor, by its index in the model.
std::map<int, const TensorPlan*> BySource(const OutputPlan& output) {
  std::map<int, const TensorPlan*> plans;
  for (const TensorPlan& tensor : output.tensors) {
    plans[tensor.source] = &tensor;
  }
  return plans;
}

std::optional<Scheme> SchemeOf(const TensorPlan& plan) {
  return plan.quantized ? std::optional<Scheme>(plan.scheme) : std::nullopt;
}

// An item that can be raised, and to what.
struct ItemRaise {
  const AllocationItem* item = nullptr;
  Candidate next;
  std::string from;
  int64_t more_bytes = 0;
  double relative_error = 0;
};

std::optional<ItemRaise> NextOf(const AllocationItem& item,
                                const std::map<int, const TensorPlan*>& plans,
                                const std::map<int, ErrorSums>& errors) {
  ItemRaise raise{.item = &item};
  int64_t bytes = 0;
  double noise = 0, signal = 0;
  for (int tensor : item.tensors) {
    bytes += plans.at(tensor)->output_bytes;
    noise += errors.at(tensor).noise;
    signal += errors.at(tensor).signal;
  }
  const std::optional<Scheme> now = SchemeOf(*plans.at(item.tensors.front()));
  if (!now || !(noise > 0)) return std::nullopt;
  raise.from = now->name;
  raise.relative_error = noise / signal;
  const auto same = std::find_if(
      item.candidates.begin(), item.candidates.end(),
      [&](const Candidate& c) { return NameOf(c.scheme) == now->name; });
  // Of codes with an index of columns candidates know less than plans.
  const int64_t least = same == item.candidates.end() ? bytes : same->bytes;
  const Candidate* next = nullptr;
  for (const Candidate& candidate : item.candidates) {
    if (candidate.bytes <= least) continue;
    if (next == nullptr || candidate.bytes < next->bytes) next = &candidate;
  }
  if (next == nullptr) return std::nullopt;
  raise.next = *next;
  raise.more_bytes = next->bytes - least;
  return raise;
}

// The raises of a step, worst first, no more than fit.
std::vector<ItemRaise> ChooseRaises(std::vector<ItemRaise> open,
                                    double room_bytes) {
  std::stable_sort(open.begin(), open.end(), [](const auto& a, const auto& b) {
    return a.relative_error > b.relative_error;
  });
  const size_t most = (open.size() + kShare - 1) / kShare;
  std::vector<ItemRaise> chosen;
  for (ItemRaise& raise : open) {
    const auto more = static_cast<double>(raise.more_bytes);
    if (chosen.size() == most) break;
    if (more > room_bytes) continue;
    room_bytes -= more;
    chosen.push_back(std::move(raise));
  }
  return chosen;
}

double RoomBytes(const ModelReader& model, const OutputPlan& plan,
                 const Limits& limits) {
  double weights = 0;
  for (const TensorEntry& tensor : model.tensors()) {
    if (!IsWeightFloat(tensor.dtype)) continue;
    weights += static_cast<double>(*NumElements(tensor.shape));
  }
  return std::min(
      limits.bytes - static_cast<double>(plan.total_bytes),
      (limits.bits_per_weight - plan.bits_per_weight) / 8 * weights);
}

std::string Shortened(const std::string& reason) {
  return reason.substr(0, reason.find("; "));
}

// Under a target the plan decided: what it gave every item stays.
void AssignPlanned(const ModelReader& model,
                   const std::vector<AllocationItem>& items,
                   const OutputPlan& plan, OutputRequest& request) {
  if (!request.target || !request.assigned.empty()) return;
  const auto plans = BySource(plan);
  for (const AllocationItem& item : items) {
    for (int tensor : item.tensors) {
      request.assigned[model.tensors()[tensor].name] = {
          .scheme = SchemeOf(*plans.at(tensor)),
          .reason = Shortened(plans.at(tensor)->reason)};
    }
  }
}

void AssignRaised(const ModelReader& model, const AllocationItem& item,
                  const std::optional<Scheme>& scheme, const std::string& from,
                  OutputRequest& request) {
  for (int tensor : item.tensors) {
    request.assigned[model.tensors()[tensor].name] = {
        .scheme = scheme,
        .reason = absl::StrCat("raised from ", from, ": a gate failed")};
  }
}

EscalationStep StepOf(const ModelReader& model,
                      const std::vector<ItemRaise>& raises,
                      std::vector<GateVerdict> verdicts) {
  EscalationStep step{.verdicts = std::move(verdicts)};
  for (const ItemRaise& raise : raises) {
    for (int tensor : raise.item->tensors) {
      step.tensors.push_back({.name = model.tensors()[tensor].name,
                              .from = raise.from,
                              .to = NameOf(raise.next.scheme),
                              .relative_error = raise.relative_error});
    }
  }
  return step;
}

// The verdicts that an output failed by, when larger schemes may mend them;
// else nothing.
std::vector<GateVerdict> Mendable(const PlanRequest& request,
                                  const ExecutedOutput& output) {
  std::vector<GateVerdict> verdicts;
  bool failed = false;
  for (const Gate& gate : request.gates) {
    if (!AppliesTo(gate, output.name)) continue;
    verdicts.push_back(Judge(gate, output.metrics));
    if (verdicts.back().passed) continue;
    if (IsOfSize(gate.metric)) return {};
    failed = true;
  }
  return failed ? verdicts : std::vector<GateVerdict>();
}

// One output that failed: what is raised, and less of it when that turns out
// to be too large.
struct FailedOutput {
  int index = 0;
  std::vector<AllocationItem> items;
  std::vector<ItemRaise> raises;
  std::vector<GateVerdict> verdicts;
};

absl::StatusOr<FailedOutput> Look(const ModelReader& model,
                                  const PlanRequest& request, const Plan& plan,
                                  const ExecutedOutput& made, int index) {
  FailedOutput failed;
  failed.index = index;
  failed.verdicts = Mendable(request, made);
  if (failed.verdicts.empty()) return failed;
  const OutputPlan& output = plan.outputs[index];
  QUANT_ASSIGN_OR_RETURN(failed.items, ItemsOf(model, output));
  const auto plans = BySource(output);
  std::map<int, ErrorSums> errors;
  for (size_t i = 0; i < output.tensors.size(); ++i) {
    errors[output.tensors[i].source] = made.errors[i];
  }
  std::vector<ItemRaise> open;
  for (const AllocationItem& item : failed.items) {
    auto raise = NextOf(item, plans, errors);
    if (raise) open.push_back(*std::move(raise));
  }
  failed.raises =
      ChooseRaises(std::move(open),
                   RoomBytes(model, output, LimitsOf(request, output.request)));
  return failed;
}

Json VerdictsJson(const std::vector<GateVerdict>& verdicts) {
  Json out = Json::array();
  for (const GateVerdict& verdict : verdicts) {
    out.push_back({{"value", verdict.value}, {"passed", verdict.passed}});
  }
  return out;
}

Json StepJson(const EscalationStep& step) {
  Json tensors = Json::array();
  for (const RaisedTensor& tensor : step.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"from", tensor.from},
                       {"to", tensor.to},
                       {"relative_error", tensor.relative_error}});
  }
  return {{"verdicts", VerdictsJson(step.verdicts)},
          {"tensors", std::move(tensors)}};
}

double NumberIn(const Json& value) {
  return value.is_number() ? value.get<double>()
                           : std::numeric_limits<double>::infinity();
}

// Only of files that Keep wrote: their form is that of StepJson.
EscalationStep StepIn(const Json& json, const std::vector<Gate>& gates) {
  EscalationStep step;
  for (size_t i = 0; i < json.at("verdicts").size() && i < gates.size(); ++i) {
    const Json& verdict = json.at("verdicts")[i];
    step.verdicts.push_back({.gate = gates[i],
                             .value = NumberIn(verdict.at("value")),
                             .passed = verdict.at("passed").get<bool>()});
  }
  for (const Json& tensor : json.at("tensors")) {
    step.tensors.push_back(
        {.name = tensor.at("name").get<std::string>(),
         .from = tensor.at("from").get<std::string>(),
         .to = tensor.at("to").get<std::string>(),
         .relative_error = NumberIn(tensor.at("relative_error"))});
  }
  return step;
}

std::string HeaderOf(const std::string& base, const std::string& body) {
  return absl::StrCat("quant-escalation 1 ", base, " ", Xxh3Hex(body), "\n");
}

std::vector<Gate> GatesOf(const std::vector<Gate>& gates,
                          const std::string& output) {
  std::vector<Gate> of;
  for (const Gate& gate : gates) {
    if (AppliesTo(gate, output)) of.push_back(gate);
  }
  return of;
}

// The raise of a tensor that a file tells of.
void AssignAgain(const ModelReader& model,
                 const std::vector<AllocationItem>& items,
                 const RaisedTensor& raised, OutputRequest& request) {
  for (const AllocationItem& item : items) {
    const bool has = std::any_of(
        item.tensors.begin(), item.tensors.end(),
        [&](int t) { return model.tensors()[t].name == raised.name; });
    if (!has) continue;
    for (const Candidate& candidate : item.candidates) {
      if (NameOf(candidate.scheme) != raised.to) continue;
      AssignRaised(model, item, candidate.scheme, raised.from, request);
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<AllocationItem>> ItemsOf(const ModelReader& model,
                                                    const OutputPlan& output) {
  const OutputRequest& request = output.request;
  if (request.keep_codes) return std::vector<AllocationItem>();
  std::vector<TensorRole> roles;
  for (const TensorEntry& tensor : model.tensors()) {
    roles.push_back(RoleOf(tensor));
  }
  QUANT_ASSIGN_OR_RETURN(const ArtifactFormat* format,
                         FindFormat(request.format));
  QUANT_ASSIGN_OR_RETURN(const LoaderCheck loader,
                         LoaderCheck::Make(request.loader, request.format));
  QUANT_ASSIGN_OR_RETURN(const std::vector<Decision> decisions,
                         DecideTensors(model, roles, request, *format));
  return OpenItems(
      {.model = &model, .roles = &roles, .format = format, .loader = loader},
      decisions);
}

absl::StatusOr<std::vector<PlanRequest>> TopRequests(const ModelReader& source,
                                                     const PlanRequest& request,
                                                     const Plan& plan) {
  const ModelReader& model = ViewedModel(source, plan);
  std::vector<PlanRequest> tops(2, request);
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    QUANT_ASSIGN_OR_RETURN(const std::vector<AllocationItem> items,
                           ItemsOf(model, plan.outputs[i]));
    for (const AllocationItem& item : items) {
      const Candidate* top = nullptr;
      for (const Candidate& candidate : item.candidates) {
        if (candidate.scheme &&
            (top == nullptr || candidate.bytes > top->bytes))
          top = &candidate;
      }
      if (top != nullptr) {
        AssignRaised(model, item, top->scheme, "", tops[0].outputs[i]);
      }
      AssignRaised(model, item, std::nullopt, "", tops[1].outputs[i]);
    }
  }
  for (PlanRequest& top : tops) top.escalate = false;
  return tops;
}

absl::StatusOr<Escalation> Escalation::Begin(const ModelReader& source,
                                             PlanRequest request, Plan plan,
                                             std::string file) {
  Escalation escalation(source, std::move(request), std::move(plan),
                        std::move(file));
  QUANT_RETURN_IF_ERROR(escalation.TakeUp());
  return escalation;
}

absl::StatusOr<bool> Escalation::Raise(const ExecuteResult& result, bool sync) {
  const ModelReader& model = ViewedModel(*source_, plan_);
  std::vector<FailedOutput> failed;
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    QUANT_ASSIGN_OR_RETURN(
        FailedOutput output,
        Look(model, request_, plan_, result.outputs[i], static_cast<int>(i)));
    if (!output.raises.empty()) failed.push_back(std::move(output));
  }
  while (!failed.empty()) {
    PlanRequest request = request_;
    request.escalate = false;
    for (const FailedOutput& one : failed) {
      OutputRequest& output = request.outputs[one.index];
      AssignPlanned(model, one.items, plan_.outputs[one.index], output);
      for (const ItemRaise& raise : one.raises) {
        AssignRaised(model, *raise.item, raise.next.scheme, raise.from, output);
      }
      output.steps.push_back(StepOf(model, one.raises, one.verdicts));
    }
    QUANT_ASSIGN_OR_RETURN(Plan plan, MakePlan(*source_, request));
    // Headers may take what seemed to be room: then less is raised.
    bool all_fit = true;
    for (FailedOutput& one : failed) {
      if (LimitsOf(request, request.outputs[one.index])
              .Allow(plan.outputs[one.index])) {
        continue;
      }
      all_fit = false;
      one.raises.pop_back();
    }
    if (all_fit) {
      request_ = std::move(request);
      plan_ = std::move(plan);
      QUANT_RETURN_IF_ERROR(Keep(sync));
      return true;
    }
    std::erase_if(failed,
                  [](const FailedOutput& one) { return one.raises.empty(); });
  }
  return false;
}

absl::Status Escalation::Keep(bool sync) const {
  Json json = Json::object();
  for (const OutputRequest& output : request_.outputs) {
    Json steps = Json::array();
    for (const EscalationStep& step : output.steps) {
      steps.push_back(StepJson(step));
    }
    json[output.name] = std::move(steps);
  }
  const std::string body = json.dump();
  return WriteFileAtomically(file_, absl::StrCat(HeaderOf(base_, body), body),
                             sync);
}

absl::Status Escalation::TakeUp() {
  if (!PathExists(file_)) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(file_, kMaxFileBytes));
  const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
  const std::string body = text.substr(end);
  if (text.compare(0, end, HeaderOf(base_, body)) != 0) return absl::OkStatus();
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) return absl::OkStatus();
  const ModelReader& model = ViewedModel(*source_, plan_);
  PlanRequest request = request_;
  request.escalate = false;
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    OutputRequest& output = request.outputs[i];
    QUANT_ASSIGN_OR_RETURN(const std::vector<AllocationItem> items,
                           ItemsOf(model, plan_.outputs[i]));
    for (const Json& entry : json.value(output.name, Json::array())) {
      AssignPlanned(model, items, plan_.outputs[i], output);
      output.steps.push_back(
          StepIn(entry, GatesOf(request.gates, output.name)));
      for (const RaisedTensor& raised : output.steps.back().tensors) {
        AssignAgain(model, items, raised, output);
      }
    }
  }
  QUANT_ASSIGN_OR_RETURN(plan_, MakePlan(*source_, request));
  request_ = std::move(request);
  return absl::OkStatus();
}

}  // namespace quant

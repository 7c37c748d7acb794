#include "core/pipeline/decide.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/pipeline/input_survey.h"
#include "core/pipeline/rules.h"

namespace quant {
namespace {

// Problems that are listed before the rest is only counted.
constexpr size_t kListedProblems = 50;

bool SameNumbers(Scheme a, Scheme b) {
  a.name.clear();
  b.name.clear();
  return a == b;
}

class Decider {
 public:
  Decider(const ModelReader& model, const std::vector<TensorRole>& roles,
          const OutputRequest& request, const ArtifactFormat& format)
      : model_(model), roles_(roles), request_(request), format_(format) {}

  absl::StatusOr<std::vector<Decision>> Run() {
    QUANT_ASSIGN_OR_RETURN(loader_,
                           LoaderCheck::Make(request_.loader, request_.format));
    QUANT_ASSIGN_OR_RETURN(RuleSet rules, RuleSet::Compile(request_.rules));
    QUANT_RETURN_IF_ERROR(AskFormat(rules));
    const int64_t count = static_cast<int64_t>(roles_.size());
    for (int64_t i = 0; i < count; ++i) {
      decisions_.push_back(First(i, rules));
    }
    QUANT_RETURN_IF_ERROR(rules.CheckAllMatched(roles_));
    for (int64_t i = 0; i < count; ++i) {
      if (IsPart(i)) module_index_[roles_[i].module] = i;
    }
    for (const auto& [module, index] : module_index_) SettleModule(index);
    for (int64_t i = 0; i < count; ++i) {
      if (!IsPart(i) && decisions_[i].quantized) SettleShapes({i});
    }
    CheckMixture();
    QUANT_RETURN_IF_ERROR(Refusal());
    return std::move(decisions_);
  }

 private:
  const TensorEntry& tensor(int64_t i) const { return model_.tensors()[i]; }

  absl::Status AskFormat(RuleSet& rules) {
    PolicyRequest request{.model = &model_,
                          .scheme = &request_.scheme,
                          .rules = {},
                          .has_importance = request_.importance != nullptr ||
                                            MeasuresImportance(request_)};
    for (const TensorRole& role : roles_) {
      const int rule = rules.Match(role);
      RuleChoice& choice = request.rules.emplace_back();
      choice.matched = rule >= 0;
      if (rule >= 0) choice.scheme = rules.rule(rule).scheme;
    }
    QUANT_ASSIGN_OR_RETURN(policies_, format_.Policies(request));
    return absl::OkStatus();
  }

  // The decision before shapes and merged modules are looked at.
  Decision First(int64_t i, RuleSet& rules) {
    const TensorRole& role = roles_[i];
    const int64_t elements = *NumElements(tensor(i).shape);
    if (const int rule = rules.Match(role); rule >= 0) {
      const TensorRule& found = rules.rule(rule);
      const std::string reason = absl::StrCat("rule '", found.match, "'");
      if (!found.scheme || elements == 0) return {.reason = reason};
      return {.quantized = true, .scheme = *found.scheme, .reason = reason};
    }
    if (elements == 0) return {.reason = "skipped: empty"};
    if (!policies_.empty()) {
      const TensorPolicy& policy = policies_[i];
      if (!policy.scheme) return {.reason = policy.reason};
      return {.quantized = true,
              .scheme = *policy.scheme,
              .reason = policy.reason,
              .by_default = true};
    }
    if (!IsWeightFloat(tensor(i).dtype)) {
      return {.reason = absl::StrCat("skipped: ", DTypeName(tensor(i).dtype))};
    }
    if (format_.ConvertsEverything()) {
      return {.quantized = true,
              .scheme = request_.scheme,
              .reason = "default",
              .by_default = true};
    }
    if (role.is_matrix && role.module_class == ModuleClass::kLinear) {
      return {.quantized = true,
              .scheme = request_.scheme,
              .reason = "default",
              .by_default = true};
    }
    return {.reason = absl::StrCat("skipped: ", role.role)};
  }

  // Whether loaders may merge it with others, be it a float or not.
  bool IsPart(int64_t i) const {
    return roles_[i].is_matrix ||
           (roles_[i].leaf == "weight" && tensor(i).shape.size() == 2);
  }

  // Parts of the merged module that exist, in stacking order.
  std::vector<int64_t> PartsOf(int64_t index) const {
    std::vector<int64_t> parts;
    for (const std::string& module : FusedWith(roles_[index].module)) {
      if (auto it = module_index_.find(module); it != module_index_.end()) {
        parts.push_back(it->second);
      }
    }
    return parts;
  }

  void SettleModule(int64_t index) {
    const std::vector<int64_t> parts = PartsOf(index);
    if (parts.front() != index) return;  // settled with its first part
    if (!Agree(parts)) return;
    if (decisions_[index].quantized) SettleShapes(parts);
  }

  // `parts` are quantized alike: do all of them fit?
  void SettleShapes(const std::vector<int64_t>& parts) {
    const std::string misfit = MisfitOf(parts);
    if (misfit.empty()) return;
    switch (request_.on_mismatch) {
      case OnMismatch::kFail:
        problems_.push_back(misfit);
        return;
      case OnMismatch::kSkip:
        for (int64_t part : parts) {
          decisions_[part] = {.reason = absl::StrCat("skipped: ", misfit)};
        }
        return;
      case OnMismatch::kChannel:
        UseChannels(parts, misfit);
        return;
    }
  }

  bool Agree(const std::vector<int64_t>& parts) {
    const Decision& first = decisions_[parts.front()];
    for (int64_t part : parts) {
      const Decision& other = decisions_[part];
      if (other.quantized == first.quantized &&
          (!first.quantized || SameNumbers(other.scheme, first.scheme))) {
        continue;
      }
      conflicts_.push_back(absl::StrCat(
          roles_[parts.front()].module, " (", Describe(parts.front()), ") and ",
          roles_[part].module, " (", Describe(part),
          ") are merged by loaders and must be treated alike"));
      return false;
    }
    return true;
  }

  std::string Describe(int64_t part) const {
    const Decision& decision = decisions_[part];
    const DType dtype = tensor(part).dtype;
    if (!IsWeightFloat(dtype)) return std::string(DTypeName(dtype));
    return decision.quantized ? DescribeScheme(decision.scheme) : "as it is";
  }

  // The first part that can't take the scheme, and why; empty when all can.
  std::string MisfitOf(const std::vector<int64_t>& parts) const {
    for (int64_t part : parts) {
      const Shape& shape = tensor(part).shape;
      const Scheme& scheme = decisions_[part].scheme;
      const int64_t rows_together =
          std::max<int64_t>(scheme.symmetric ? 1 : 32, scheme.block_rows);
      std::string why;
      if (!format_.TakesClass(roles_[part].module_class)) {
        why = absl::StrCat("no loader of format \"", request_.format,
                           "\" reads a quantized ", roles_[part].role);
      } else if (const int64_t columns = shape.empty() ? 1 : shape.back();
                 columns > kMaxRowElements / rows_together) {
        why = absl::StrCat("rows of ", columns, " elements; at most ",
                           kMaxRowElements / rows_together, " are allowed");
      } else if (const int block = InfoOf(scheme.ggml).block_elems;
                 scheme.has_inner_scales() && !shape.empty() &&
                 shape.back() % block != 0) {
        why = absl::StrCat(shape.back(), " % ", block,
                           " != 0: blocks of this type must fill the rows");
      } else if (shape.size() == 2 || format_.TakesStacks()) {
        why = format_.ShapeMisfit(scheme, shape, part == parts.back());
      }
      if (why.empty()) why = LoaderMisfit(part, parts);
      if (!why.empty()) {
        return absl::StrCat(tensor(part).name, " ", ShapeToString(shape), ": ",
                            why);
      }
    }
    return "";
  }

  std::string LoaderMisfit(int64_t part,
                           const std::vector<int64_t>& parts) const {
    int64_t outputs = 0;
    for (int64_t other : parts) {
      const Shape& shape = tensor(other).shape;
      if (shape.size() >= 2) outputs += shape[shape.size() - 2];
    }
    return loader_.Misfit({.role = &roles_[part],
                           .scheme = &decisions_[part].scheme,
                           .shape = tensor(part).shape,
                           .module_outputs = outputs});
  }

  // Whether the loader lets tensors differ as much as they do.
  void CheckMixture() {
    std::string why;
    if (loader_.Mixes(&why) != Verdict::kNo) return;
    int64_t first = -1;
    const int64_t count = static_cast<int64_t>(decisions_.size());
    for (int64_t i = 0; i < count; ++i) {
      if (!decisions_[i].quantized) continue;
      if (first < 0) first = i;
      if (SameNumbers(decisions_[i].scheme, decisions_[first].scheme)) continue;
      conflicts_.push_back(absl::StrCat(
          tensor(first).name, " (", Describe(first), ") and ", tensor(i).name,
          " (", Describe(i),
          ") differ, and loader "
          "\"",
          loader_.loader()->name,
          "\" won't take several schemes in one "
          "checkpoint of format \"",
          request_.format, "\": ", why,
          "; the nearest is one of them for all, or leaving others as they "
          "are"));
      return;
    }
  }

  void UseChannels(const std::vector<int64_t>& parts,
                   const std::string& misfit) {
    if (decisions_[parts.front()].scheme.has_inner_scales()) {
      problems_.push_back(misfit);
      return;
    }
    Scheme scheme = decisions_[parts.front()].scheme;
    scheme.granularity = Granularity::kChannel;
    scheme.group_size = scheme.block_rows = scheme.block_cols = 0;
    if (scheme.activations == Activations::kFp8Group128Dynamic) {
      scheme.activations = Activations::kFp8TokenDynamic;
    }
    if (!MakeCodec(scheme).ok()) {  // its groups are part of the type
      problems_.push_back(misfit);
      return;
    }
    for (int64_t part : parts) {
      decisions_[part].scheme = scheme;
      decisions_[part].reason = absl::StrCat("channel: ", misfit);
    }
    const std::string still = MisfitOf(parts);
    if (!still.empty()) problems_.push_back(still);
  }

  absl::Status Refusal() const {
    std::string why;
    if (!conflicts_.empty()) {
      absl::StrAppend(&why,
                      "the recipe treats differently what belongs "
                      "together:",
                      Listed(conflicts_),
                      "\nlet one rule cover all of it alike");
    }
    if (!problems_.empty()) {
      absl::StrAppend(&why, why.empty() ? "" : "\n", "scheme \"",
                      request_.scheme.name, "\" does not fit ",
                      problems_.size(), " of this model's tensors; ", Remedy(),
                      ":", Listed(problems_));
    }
    if (why.empty() && ChangesNothing()) {
      why = absl::StrCat(
          "scheme \"", request_.scheme.name,
          "\" would change no tensor of this model: ", WhyNothing());
    }
    if (why.empty()) return absl::OkStatus();
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     Reason::kPlanRefused, why);
  }

  static std::string Listed(const std::vector<std::string>& lines) {
    const size_t listed = std::min(lines.size(), kListedProblems);
    return absl::StrCat(
        "\n  ", absl::StrJoin(lines.begin(), lines.begin() + listed, "\n  "),
        listed < lines.size() ? "\n  ..." : "");
  }

  absl::string_view Remedy() const {
    return request_.on_mismatch == OnMismatch::kFail
               ? "change the group size, add a rule, or let on_mismatch be "
                 "channel or skip"
               : "change the group size, add a rule, or let on_mismatch be "
                 "skip";
  }

  bool ChangesNothing() const {
    // Other names are a change, too.
    if (format_.Names() != TensorNames::kSource) return false;
    return std::none_of(decisions_.begin(), decisions_.end(),
                        [](const Decision& d) { return d.quantized; });
  }

  std::string WhyNothing() const {
    int64_t left = 0;
    int64_t first = -1;
    const int64_t count = static_cast<int64_t>(roles_.size());
    for (int64_t i = 0; i < count; ++i) {
      if (!roles_[i].is_matrix ||
          roles_[i].module_class != ModuleClass::kLinear) {
        continue;
      }
      ++left;
      if (first < 0) first = i;
    }
    if (left == 0) return "it has no Linear weight matrix";
    return absl::StrCat("all ", left,
                        " Linear weight matrices stay as they are, the first, ",
                        tensor(first).name, ", by ", decisions_[first].reason);
  }

  const ModelReader& model_;
  const std::vector<TensorRole>& roles_;
  const OutputRequest& request_;
  const ArtifactFormat& format_;
  LoaderCheck loader_;
  std::vector<TensorPolicy> policies_;
  std::vector<Decision> decisions_;
  std::map<std::string, int64_t> module_index_;
  std::vector<std::string> problems_;   // what does not fit
  std::vector<std::string> conflicts_;  // what has to agree and does not
};

}  // namespace

absl::StatusOr<std::vector<Decision>> DecideTensors(
    const ModelReader& model, const std::vector<TensorRole>& roles,
    const OutputRequest& request, const ArtifactFormat& format) {
  return Decider(model, roles, request, format).Run();
}

}  // namespace quant

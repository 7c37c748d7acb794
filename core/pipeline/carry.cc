#include "core/pipeline/carry.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/artifact/code_survey.h"
#include "core/artifact/quant_settings.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Problems that are listed.
constexpr size_t kListedProblems = 50;

// "W4A16", "W3A16_ASYM": as presets of these numbers are called.
std::string NameOf(const Scheme& scheme) {
  return absl::StrCat("W", scheme.bits, "A16", scheme.symmetric ? "" : "_ASYM");
}

// Of the formats for which `carries` is true.
template <typename Carries>
std::string Nearest(Carries carries) {
  std::vector<std::string> names;
  for (const FormatInfo& info : Formats()) {
    const auto format = FindFormat(info.name);
    if (format.ok() && (*format)->TakesCodes() && carries(**format)) {
      names.push_back(absl::StrCat("\"", info.name, "\""));
    }
  }
  return names.empty() ? "no format carries it; the nearest is to quantize "
                         "anew, with --allow-requantize"
                       : absl::StrCat("the nearest is format ",
                                      absl::StrJoin(names, " or "));
}

// What a format says of a scheme, without the nearest scheme: it is formats
// that can be chosen here.
std::string ReasonOf(const absl::Status& status) {
  const std::string message(status.message());
  return message.substr(0, message.find("; the nearest"));
}

// What stands in the way of so many weights.
struct Problem {
  int first = 0;
  int64_t weights = 0;
  std::string why;
};

class Carrier {
 public:
  Carrier(const QuantizedModel& model, const std::vector<TensorRole>& roles,
          const OutputRequest& request, const ArtifactFormat& format)
      : model_(model), roles_(roles), request_(request), format_(format) {}

  absl::StatusOr<std::vector<Decision>> Run() {
    QUANT_RETURN_IF_ERROR(CheckSettings());
    const int count = static_cast<int>(roles_.size());
    for (int i = 0; i < count; ++i) {
      const StoredWeight* weight = model_.Find(model_.tensors()[i].name);
      decisions_.push_back({.reason = "copied: not quantized"});
      if (weight == nullptr) continue;
      Use(weight->codec->scheme(), i);
      AddProblem(i, WhyNotBy(decisions_[i].scheme, i));
    }
    QUANT_RETURN_IF_ERROR(Refusal());
    QUANT_RETURN_IF_ERROR(SurveyAll());
    return std::move(decisions_);
  }

 private:
  const TensorEntry& tensor(int i) const { return model_.tensors()[i]; }

  absl::Status CheckSettings() const {
    QUANT_ASSIGN_OR_RETURN(const QuantSettings settings,
                           ReadQuantSettings(model_.stored()));
    if (settings.also_quantized.empty()) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
        absl::StrCat(model_.path(), ": ", settings.also_quantized,
                     " says that loaders quantize more than weights, which no "
                     "other format of codes can say; weights alone are "
                     "carried; the nearest is to quantize anew, with "
                     "--allow-requantize"));
  }

  void Use(Scheme scheme, int i) {
    scheme.name = NameOf(scheme);
    decisions_[i] = {.quantized = true,
                     .scheme = std::move(scheme),
                     .reason = "codes as they are"};
  }

  void AddProblem(int i, const std::string& why) {
    if (why.empty()) return;
    const auto same =
        std::find_if(problems_.begin(), problems_.end(),
                     [&](const Problem& other) { return other.why == why; });
    if (same != problems_.end()) {
      ++same->weights;
    } else {
      problems_.push_back({.first = i, .weights = 1, .why = why});
    }
  }

  // Why the format can't take such codes at all; empty when it can.
  std::string WhyNotBy(const Scheme& scheme, int i) const {
    const bool integer = scheme.type == NumberType::kInt &&
                         scheme.scales == ScaleKind::kFloat &&
                         scheme.activations == Activations::kNone;
    if (!integer) {
      return absl::StrCat("is ", DescribeScheme(scheme),
                          "; integers with float scales are carried, with "
                          "activations as they are; the nearest is to quantize "
                          "anew, with --allow-requantize");
    }
    const std::string why = WhyNotBy(format_, scheme, i);
    if (why.empty()) return "";
    return absl::StrCat(why, "; ", Nearest([&](const ArtifactFormat& other) {
                          return WhyNotBy(other, scheme, i).empty();
                        }));
  }

  std::string WhyNotBy(const ArtifactFormat& format, const Scheme& scheme,
                       int i) const {
    if (!format.TakesClass(roles_[i].module_class)) {
      return absl::StrCat("no loader of format \"", request_.format,
                          "\" reads a quantized ", roles_[i].role);
    }
    if (const absl::Status status = format.CheckScheme(scheme); !status.ok()) {
      return ReasonOf(status);
    }
    return format.ShapeMisfit(scheme, tensor(i).shape, /*last_of_fused=*/true);
  }

  // Decides what only the data tell. Loaders want merged modules to be alike,
  // so that symmetry and order are those of the whole model.
  absl::Status SurveyAll() {
    std::vector<std::pair<int, CodeSurvey>> surveys;
    bool middle = true, act_order = false;
    for (int i = 0; i < static_cast<int>(decisions_.size()); ++i) {
      if (!decisions_[i].quantized) continue;
      QUANT_ASSIGN_OR_RETURN(
          CodeSurvey survey,
          SurveyCodes(model_.stored(), *model_.Find(tensor(i).name),
                      format_.ScaleType(tensor(i).dtype)));
      middle &= survey.all_middle;
      act_order |= survey.act_order;
      surveys.emplace_back(i, std::move(survey));
    }
    for (const auto& [i, survey] : surveys) {
      Scheme scheme = decisions_[i].scheme;
      scheme.symmetric |= middle;
      scheme.act_order = act_order;
      Use(scheme, i);
      if (act_order) AddProblem(i, WhyNotBy(scheme, i));
      AddProblem(i, WhyNotIn(survey, scheme, tensor(i).dtype));
    }
    return Refusal();
  }

  // Why the format can't say these very numbers.
  std::string WhyNotIn(const CodeSurvey& survey, const Scheme& scheme,
                       DType scale_type) const {
    const auto at = [](const GridCell& cell) {
      return absl::StrCat(" of row ", cell.row, ", group ", cell.group);
    };
    if (survey.changed_scale) {
      const GridCell& cell = *survey.changed_scale;
      if (!std::isfinite(cell.scale)) {
        return absl::StrCat("scale", at(cell),
                            " is NaN or infinite; mend the model");
      }
      return absl::StrCat("scale", at(cell), " is ", DTypeName(scale_type), " ",
                          cell.scale, ", which is no ",
                          DTypeName(format_.ScaleType(scale_type)),
                          ", as format \"", request_.format, "\" stores it; ",
                          Nearest([&](const ArtifactFormat& other) {
                            return other.ScaleType(scale_type) == scale_type;
                          }));
    }
    if (survey.lowest_zero && format_.Narrowed(scheme).zero_above_lowest) {
      return absl::StrCat("the zero point", at(*survey.lowest_zero),
                          " is 0; format \"", request_.format,
                          "\" can say 1 to ", (1 << scheme.bits) - 1, "; ",
                          Nearest([&](const ArtifactFormat& other) {
                            return other.CheckScheme(scheme).ok() &&
                                   !other.Narrowed(scheme).zero_above_lowest;
                          }));
    }
    if (!survey.even_groups) {
      return absl::StrCat(
          "its g_idx makes groups of unequal size; loaders "
          "sort columns into groups of ",
          scheme.group_size,
          "; the nearest is to quantize anew, with "
          "--allow-requantize");
    }
    return "";
  }

  absl::Status Refusal() const {
    if (problems_.empty()) return absl::OkStatus();
    std::string list;
    for (size_t i = 0; i < std::min(problems_.size(), kListedProblems); ++i) {
      const Problem& problem = problems_[i];
      absl::StrAppend(&list, "\n  ", tensor(problem.first).name, " ",
                      ShapeToString(tensor(problem.first).shape));
      if (problem.weights > 1) {
        absl::StrAppend(&list, " and ", problem.weights - 1, " more");
      }
      absl::StrAppend(&list, ": ", problem.why);
    }
    if (problems_.size() > kListedProblems) list += "\n  ...";
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
        absl::StrCat(model_.path(), ": codes can't be carried to ", "format \"",
                     request_.format, "\" as they are:", list));
  }

  const QuantizedModel& model_;
  const std::vector<TensorRole>& roles_;
  const OutputRequest& request_;
  const ArtifactFormat& format_;
  std::vector<Decision> decisions_;
  std::vector<Problem> problems_;
};

}  // namespace

absl::StatusOr<std::vector<Decision>> DecideCarried(
    const QuantizedModel& model, const std::vector<TensorRole>& roles,
    const OutputRequest& request, const ArtifactFormat& format) {
  return Carrier(model, roles, request, format).Run();
}

}  // namespace quant

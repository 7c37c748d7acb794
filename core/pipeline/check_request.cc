#include "core/pipeline/check_request.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/artifact/format.h"
#include "core/artifact/loader.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/codec/codec.h"
#include "core/method/method.h"

namespace quant {
namespace {

// Of the mean of the Hessian's diagonal: beyond this, nothing is left of it.
constexpr double kMaxDamping = 1000;

absl::Status CheckTakesCodes(const OutputRequest& output,
                             const std::string& field) {
  QUANT_ASSIGN_OR_RETURN(const ArtifactFormat* format,
                         FindFormat(output.format));
  if (output.importance != nullptr) {
    return InvalidSpec(
        "an importance matrix can't change codes that are kept; leave it or "
        "keep_codes out",
        field + "keep_codes");
  }
  if (format->TakesCodes()) return absl::OkStatus();
  std::string known;
  for (const FormatInfo& info : Formats()) {
    if (!(*FindFormat(info.name))->TakesCodes()) continue;
    absl::StrAppend(&known, known.empty() ? "" : ", ", info.name);
  }
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
      absl::StrCat("format \"", output.format,
                   "\" does not take codes as they are; ", known, " do"),
      field + "format");
}

absl::Status CheckStaticInputs(const OutputRequest& output,
                               const Scheme& scheme) {
  if (!IsStatic(scheme.activations) || output.calibration != nullptr) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
      absl::StrCat("scheme \"", scheme.name,
                   "\": its static activation scales need calibration text "
                   "(--calibration FILE); the nearest that needs none is \"",
                   DynamicTwin(scheme.activations), "\""),
      "calibration");
}

bool Takes(const QuantMethod& method, absl::string_view option) {
  const auto options = method.Options();
  return std::count(options.begin(), options.end(), option) > 0;
}

absl::Status CheckOptions(const OutputRequest& output,
                          const QuantMethod& method, const std::string& field) {
  const CalibratedOptions& options = output.calibrated;
  const std::pair<bool, absl::string_view> flags[] = {
      {options.act_order, "act_order"},
      {options.static_groups, "static_groups"},
      {output.true_sequential, "true_sequential"}};
  for (const auto& [set, option] : flags) {
    if (!set) continue;
    const absl::Status status = CheckTakesOption(output.method, option);
    if (!status.ok()) return Annotate(status, "", field);
  }
  if (Takes(method, "damping") &&
      !(options.damping > 0 && options.damping <= kMaxDamping)) {
    return InvalidSpec(
        absl::StrCat("a damping of ", options.damping,
                     "; more than 0 and at most ", kMaxDamping, " are allowed"),
        field + "damping");
  }
  if (Takes(method, "smoothing") &&
      !(options.smoothing > 0 && options.smoothing <= 1)) {
    return InvalidSpec(absl::StrCat("a smoothing of ", options.smoothing,
                                    "; more than 0 and at most 1 are allowed"),
                       field + "smoothing");
  }
  return absl::OkStatus();
}

absl::Status CheckCalibration(const OutputRequest& output,
                              const QuantMethod& method,
                              const std::string& field) {
  if (method.Needs() == Statistics::kNone) return absl::OkStatus();
  if (output.calibration == nullptr) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
        absl::StrCat("method \"", output.method,
                     "\": needs calibration text (--calibration FILE); the "
                     "nearest that needs none is \"rtn\""),
        "calibration");
  }
  return CheckOptions(output, method, field);
}

}  // namespace

absl::Status CheckRequest(const PlanRequest& request) {
  if (request.outputs.empty()) return InvalidSpec("no outputs", "outputs");
  for (size_t i = 0; i < request.gates.size(); ++i) {
    const absl::Status status =
        CheckHasText(request.gates[i], request.evaluation != nullptr);
    if (!status.ok()) {
      return Annotate(status, "", absl::StrCat("gates[", i, "]."));
    }
  }
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    const OutputRequest& output = request.outputs[i];
    const std::string field = absl::StrCat("outputs[", i, "].recipe.");
    const auto loader = LoaderCheck::Make(output.loader, output.format);
    if (!loader.ok()) return Annotate(loader.status(), "", field);
    const auto check = [&](const Scheme& scheme, const std::string& at) {
      const auto codec = MakeCodec(scheme);
      if (!codec.ok()) return Annotate(codec.status(), "", at);
      const auto method = FindMethod(output.method);
      if (!method.ok()) return method.status();
      QUANT_RETURN_IF_ERROR((*method)->Check(scheme));
      QUANT_RETURN_IF_ERROR(CheckStaticInputs(output, scheme));
      QUANT_RETURN_IF_ERROR(CheckCalibration(output, **method, field));
      const auto format = FindFormat(output.format);
      if (!format.ok()) return format.status();
      const Scheme stored = (*method)->Needs() == Statistics::kNone
                                ? scheme
                                : WithGroups(output, scheme);
      QUANT_RETURN_IF_ERROR((*format)->CheckScheme(stored));
      return Annotate(loader->CheckScheme(stored), "", at);
    };
    if (output.keep_codes) {
      QUANT_RETURN_IF_ERROR(CheckTakesCodes(output, field));
      continue;
    }
    QUANT_RETURN_IF_ERROR(check(output.scheme, field));
    for (size_t rule = 0; rule < output.rules.size(); ++rule) {
      if (!output.rules[rule].scheme) continue;
      QUANT_RETURN_IF_ERROR(check(*output.rules[rule].scheme,
                                  absl::StrCat(field, "rules[", rule, "].")));
    }
    if (output.nonfinite != request.outputs[0].nonfinite) {
      return InvalidSpec("all outputs of a job must agree on nonfinite",
                         field + "nonfinite");
    }
  }
  return absl::OkStatus();
}

absl::string_view DynamicTwin(Activations activations) {
  return IsInt8(activations) ? "W8A8" : "FP8_DYNAMIC";
}

Scheme WithGroups(const OutputRequest& request, Scheme scheme) {
  scheme.act_order = request.calibrated.act_order &&
                     !request.calibrated.static_groups &&
                     scheme.granularity == Granularity::kGroup;
  return scheme;
}

}  // namespace quant

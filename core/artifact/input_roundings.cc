#include "core/artifact/input_roundings.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/artifact/output_bytes.h"
#include "core/artifact/quant_settings.h"
#include "core/artifact/quantized_model.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

using Inputs = QuantSettings::Inputs;

// The first group that names each target.
using Groups = std::map<std::string, const Inputs*>;

Groups ByTarget(const QuantSettings& settings) {
  Groups groups;
  for (const Inputs& inputs : settings.inputs) {
    for (const std::string& target : inputs.targets) {
      groups.emplace(target, &inputs);
    }
  }
  return groups;
}

// Exact names go before the class.
const Inputs* GroupOf(const Groups& groups, const std::string& module) {
  auto found = groups.find(module);
  if (found == groups.end()) found = groups.find("Linear");
  return found == groups.end() ? nullptr : found->second;
}

absl::Status Unread(const std::string& what) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
      absl::StrCat("quantization_config: ", what,
                   " can't be imitated; int8 and FP8 are, per token, in groups "
                   "of 128 (FP8) or static; leave activations as they are "
                   "(--weights-only) to go on"));
}

absl::StatusOr<float> ReadScale(const ModelReader& model,
                                const std::string& module) {
  const std::string name = absl::StrCat(module, ".input_scale");
  const auto& all = model.tensors();
  const auto found = std::lower_bound(
      all.begin(), all.end(), name,
      [](const TensorEntry& t, const std::string& n) { return t.name < n; });
  if (found == all.end() || found->name != name) {
    return ModelMalformed(absl::StrCat(module, ": lacks ", name));
  }
  const bool one =
      NumElements(found->shape) == 1 &&
      (found->dtype == DType::kF32 || found->dtype == DType::kF16 ||
       found->dtype == DType::kBF16);
  if (!one) {
    return ModelMalformed(absl::StrCat(name, ": is ", TypeName(*found), " ",
                                       ShapeToString(found->shape),
                                       "; one float is expected"));
  }
  std::vector<uint8_t> bytes(found->bytes);
  QUANT_RETURN_IF_ERROR(model.Read(*found, 0, absl::MakeSpan(bytes)));
  const float scale = LoadFloat(bytes.data(), found->dtype);
  if (scale > 0 && std::isfinite(scale)) return scale;
  return ModelMalformed(
      absl::StrCat(name, ": is ", scale, "; more than 0 is expected"));
}

}  // namespace

absl::StatusOr<InputRoundings> ReadInputRoundings(const ModelReader& model) {
  QUANT_ASSIGN_OR_RETURN(const QuantSettings settings,
                         ReadQuantSettings(model));
  const bool any = std::any_of(
      settings.inputs.begin(), settings.inputs.end(), [](const Inputs& inputs) {
        return inputs.kind != Activations::kNone || !inputs.unread.empty();
      });
  InputRoundings roundings;
  if (!any) return roundings;
  QUANT_ASSIGN_OR_RETURN(const std::vector<StoredWeight> weights,
                         FindStoredWeights(model));
  const Groups groups = ByTarget(settings);
  for (const StoredWeight& weight : weights) {
    const std::string module = ModuleOf(weight.source);
    const Inputs* inputs = GroupOf(groups, module);
    if (inputs == nullptr) {
      return Unread(absl::StrCat("targets by which ", module,
                                 " would have activations, if any,"));
    }
    if (!inputs->unread.empty()) return Unread(inputs->unread);
    if (inputs->kind == Activations::kNone) continue;
    InputRounding& rounding = roundings[module];
    rounding.kind = inputs->kind;
    if (!IsStatic(inputs->kind)) continue;
    QUANT_ASSIGN_OR_RETURN(rounding.scale, ReadScale(model, module));
  }
  return roundings;
}

}  // namespace quant

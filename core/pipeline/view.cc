#include "core/pipeline/view.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "core/artifact/format.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/transform/converted_model.h"
#include "core/transform/dequantized_model.h"
#include "core/transform/restored_model.h"

namespace quant {
namespace {

absl::StatusOr<TensorNames> CommonNames(const PlanRequest& request) {
  const std::string& first = request.outputs[0].format;
  QUANT_ASSIGN_OR_RETURN(const ArtifactFormat* format, FindFormat(first));
  for (size_t i = 1; i < request.outputs.size(); ++i) {
    const std::string& other = request.outputs[i].format;
    QUANT_ASSIGN_OR_RETURN(const ArtifactFormat* found, FindFormat(other));
    if (found->Names() != format->Names()) {
      return InvalidSpec(
          absl::StrCat("formats \"", first, "\" and \"", other,
                       "\" cut the model into different tensors, which one "
                       "read can't feed; allowed are formats of one kind (\"",
                       first, "\" and its like); make two jobs of them"),
          absl::StrCat("outputs[", i, "].recipe.format"));
    }
  }
  return format->Names();
}

// Values alone can always be had.
absl::Status NoCheckpoint(const absl::Status& status,
                          const PlanRequest& request) {
  return MakeError(
      status.code(), GetReason(status),
      absl::StrCat(status.message(), "; format \"", request.outputs[0].format,
                   "\" needs the checkpoint's names; what works with any "
                   "GGUF file is format \"gguf\""),
      "outputs[0].recipe.format");
}

absl::StatusOr<ModelView> MakeCodesView(const ModelReader& source,
                                        const PlanRequest& request) {
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    if (request.outputs[i].keep_codes) continue;
    return InvalidSpec(
        "either all outputs keep the source's codes, or none; make two jobs of "
        "them",
        absl::StrCat("outputs[", i, "].recipe.keep_codes"));
  }
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<QuantizedModel> codes,
                         QuantizedModel::Make(source, WeightsAs::kCodes));
  if (codes == nullptr) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
        absl::StrCat(source.path(),
                     ": holds no codes of GPTQ, AWQ or compressed-tensors that "
                     "could be kept; the nearest is to quantize it"));
  }
  const QuantizedModel* shown = codes.get();
  return ModelView{.model = std::move(codes), .codes = shown, .dropped = {}};
}

}  // namespace

absl::StatusOr<ModelView> MakeView(const ModelReader& source,
                                   const PlanRequest& request) {
  for (const OutputRequest& output : request.outputs) {
    if (output.keep_codes) return MakeCodesView(source, request);
  }
  ModelView view;
  QUANT_ASSIGN_OR_RETURN(const TensorNames names, CommonNames(request));
  // Views refer to each other, so they live and die together.
  auto views = std::make_shared<std::vector<std::unique_ptr<ModelReader>>>();
  const ModelReader* model = &source;
  const auto add = [&](std::unique_ptr<ModelReader> view) {
    model = views->emplace_back(std::move(view)).get();
  };
  QUANT_ASSIGN_OR_RETURN(std::unique_ptr<QuantizedModel> quantized,
                         QuantizedModel::Make(*model));
  if (quantized != nullptr) add(std::move(quantized));
  if (HasBlocks(*model)) {
    QUANT_ASSIGN_OR_RETURN(auto floats, DequantizedModel(*model));
    add(std::move(floats));
  }
  if (names == TensorNames::kSource && !model->kvs().empty()) {
    auto restored = RestoredModel::Create(*model);
    if (!restored.ok()) return NoCheckpoint(restored.status(), request);
    add(*std::move(restored));
  }
  if (names == TensorNames::kGguf && model->kvs().empty()) {
    QUANT_ASSIGN_OR_RETURN(auto converted, ConvertedModel::Create(*model));
    for (const GgufDropped& dropped : converted->dropped()) {
      view.dropped.push_back({dropped.name, dropped.reason});
    }
    add(std::move(converted));
  }
  if (views->empty()) return view;
  view.model = std::shared_ptr<const ModelReader>(std::move(views), model);
  return view;
}

}  // namespace quant

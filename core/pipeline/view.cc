#include "core/pipeline/view.h"

#include "absl/strings/str_cat.h"
#include "core/artifact/format.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

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
                       "read can't feed; make two jobs of them"),
          absl::StrCat("outputs[", i, "].recipe.format"));
    }
  }
  return format->Names();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ModelReader>> MakeView(
    const ModelReader& source, const PlanRequest& request) {
  QUANT_ASSIGN_OR_RETURN(const TensorNames names, CommonNames(request));
  switch (names) {
    case TensorNames::kSource:
    case TensorNames::kGguf:
      return std::shared_ptr<const ModelReader>();
  }
  return InvalidSpec("unknown tensor names");
}

}  // namespace quant

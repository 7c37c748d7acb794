// A recipe file, and the job that would be made of it.
#include <utility>

#include "core/base/error.h"
#include "core/recipe/recipe.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {
namespace {

v1::JobSpec SpecOf(const v1::RecipeFile& file) {
  v1::JobSpec spec;
  *spec.mutable_outputs() = file.outputs();
  if (file.has_recipe()) {
    *spec.add_outputs()->mutable_recipe() = file.recipe();
  }
  for (const std::string& text : file.gates()) {
    if (auto gate = ParseGate(text); gate.ok()) {
      *spec.add_gates() = *std::move(gate);
    }
  }
  return spec;
}

}  // namespace

void RecipeFile(absl::string_view bytes) {
  const auto file = ParseRecipeFile(bytes);
  if (!file.ok()) {
    QUANT_FUZZ_CHECK(file.status().code() ==
                     absl::StatusCode::kInvalidArgument);
    return;
  }
  const v1::JobSpec spec = SpecOf(*file);
  const auto request = ToPlanRequest(spec, 1);
  const auto canonical = CanonicalSpec(spec);
  if (!canonical.ok()) return;
  // Defaults are filled in once and for all.
  const auto again = CanonicalSpec(*canonical);
  QUANT_FUZZ_CHECK(again.ok());
  QUANT_FUZZ_CHECK(again->SerializeAsString() ==
                   canonical->SerializeAsString());
  QUANT_FUZZ_CHECK(!request.ok() || ToPlanRequest(*canonical, 1).ok());
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::RecipeFile)

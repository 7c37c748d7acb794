#include "core/recipe/scheme_proto.h"

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

absl::Status ApplyGranularity(const v1::Recipe& recipe, Scheme& scheme) {
  if (recipe.granularity_case() == v1::Recipe::GRANULARITY_NOT_SET) {
    return absl::OkStatus();
  }
  const bool group = recipe.has_group_size();
  const char* field = group ? "group_size" : "whole";
  if (scheme.is_cast()) {
    return InvalidSpec(absl::StrCat("scheme \"", scheme.name,
                                    "\" is a plain cast and has no scales"),
                       field);
  }
  if (scheme.has_inner_scales()) {
    return InvalidSpec(absl::StrCat("scheme \"", scheme.name,
                                    "\" keeps scales inside its blocks; their "
                                    "size is part of the type"),
                       field);
  }
  scheme.group_size = scheme.block_rows = scheme.block_cols = 0;
  if (group) {
    if (recipe.group_size() < 1 || recipe.group_size() > kMaxGroupSize) {
      return InvalidSpec(absl::StrCat("group size ", recipe.group_size(),
                                      "; 1 to ", kMaxGroupSize, " are allowed"),
                         field);
    }
    scheme.granularity = Granularity::kGroup;
    scheme.group_size = recipe.group_size();
  } else if (recipe.whole() == v1::WHOLE_GRANULARITY_CHANNEL) {
    scheme.granularity = Granularity::kChannel;
  } else if (recipe.whole() == v1::WHOLE_GRANULARITY_TENSOR) {
    scheme.granularity = Granularity::kTensor;
  } else {
    return InvalidSpec(absl::StrCat("unknown value ", recipe.whole()), field);
  }
  if (scheme.activations == Activations::kFp8Group128Dynamic) {
    scheme.activations = Activations::kFp8TokenDynamic;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Scheme> SchemeOf(const v1::Recipe& recipe) {
  if (recipe.scheme().empty()) {
    return InvalidSpec("a scheme is required, e.g. \"W4A16\"", "scheme");
  }
  absl::StatusOr<Scheme> found = FindScheme(recipe.scheme());
  if (!found.ok()) {
    return MakeError(found.status().code(), GetReason(found.status()),
                     std::string(found.status().message()), "scheme");
  }
  Scheme scheme = *std::move(found);
  QUANT_RETURN_IF_ERROR(ApplyGranularity(recipe, scheme));
  if (recipe.has_symmetric() && recipe.symmetric() != scheme.symmetric) {
    if (scheme.type != NumberType::kInt) {
      return InvalidSpec(absl::StrCat("scheme \"", scheme.name,
                                      "\" holds floats, which are always "
                                      "symmetric"),
                         "symmetric");
    }
    scheme.symmetric = recipe.symmetric();
  }
  return scheme;
}

absl::StatusOr<ScaleRule> ScaleRuleOf(const v1::Recipe& recipe) {
  if (recipe.scale().empty() || recipe.scale() == "minmax") {
    return ScaleRule::kMinmax;
  }
  if (recipe.scale() == "mse") return ScaleRule::kMse;
  return UnknownNameError("scale rule", recipe.scale(), {"minmax", "mse"},
                          "scale");
}

absl::StatusOr<SearchLevel> SearchLevelOf(const v1::Recipe& recipe) {
  if (recipe.search().empty() || recipe.search() == "default") {
    return SearchLevel::kDefault;
  }
  if (recipe.search() == "fast") return SearchLevel::kFast;
  return UnknownNameError("search level", recipe.search(), {"default", "fast"},
                          "search");
}

absl::StatusOr<Nonfinite> NonfiniteOf(const v1::Recipe& recipe) {
  switch (recipe.nonfinite()) {
    case v1::NONFINITE_UNSPECIFIED:
    case v1::NONFINITE_ERROR:
      return Nonfinite::kError;
    case v1::NONFINITE_ZERO:
      return Nonfinite::kZero;
    default:
      return InvalidSpec(absl::StrCat("unknown value ", recipe.nonfinite()),
                         "nonfinite");
  }
}

}  // namespace quant

// What the headers of a quantized model don't say of its codes.
#ifndef QUANT_CORE_ARTIFACT_CODE_SURVEY_H_
#define QUANT_CORE_ARTIFACT_CODE_SURVEY_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "core/artifact/quantized_model.h"

namespace quant {

// A scale, or its zero point.
struct GridCell {
  int64_t row = 0;
  int64_t group = 0;
  float scale = 0;
};

struct CodeSurvey {
  // Every zero point is the middle one, 2^(b-1): as good as symmetric.
  bool all_middle = true;
  // The groups of columns are listed, and are not consecutive columns.
  bool act_order = false;
  bool even_groups = true;  // all of the same number of columns
  // The first zero point that is the lowest code.
  std::optional<GridCell> lowest_zero;
  // The first scale that is no value of the type asked for, or is not finite.
  std::optional<GridCell> changed_scale;
};

// Reads scales, zero points and groups of columns, a few percent of a weight's
// bytes, some rows at a time.
absl::StatusOr<CodeSurvey> SurveyCodes(const ModelReader& model,
                                       const StoredWeight& weight,
                                       DType scale_type);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_CODE_SURVEY_H_

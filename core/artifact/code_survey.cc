#include "core/artifact/code_survey.h"

#include <algorithm>
#include <cmath>

#include "core/artifact/column_groups.h"
#include "core/artifact/output_bytes.h"
#include "core/base/checked_math.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Scales that are read at a time.
constexpr int64_t kChunkCells = 1 << 18;

bool IsValueOf(float value, DType type) {
  uint8_t bytes[sizeof(float)];
  StoreFloat(value, type, bytes);
  return std::isfinite(value) && LoadFloat(bytes, type) == value;
}

// Adds rows of a weight that were read.
void AddRows(const Codec& codec, DType scale_type, const CodeTile& tile,
             CodeSurvey& survey) {
  const int64_t groups = codec.grid_cols(tile.cols);
  const auto cell = [&](size_t i) {
    return GridCell{.row = tile.first_row + static_cast<int64_t>(i) / groups,
                    .group = static_cast<int64_t>(i) % groups,
                    .scale = tile.scales[i]};
  };
  for (size_t i = 0; i < tile.scales.size(); ++i) {
    if (survey.changed_scale || IsValueOf(tile.scales[i], scale_type)) continue;
    survey.changed_scale = cell(i);
  }
  const int lowest = -(1 << (codec.scheme().bits - 1));
  for (size_t i = 0; i < tile.zeros.size(); ++i) {
    survey.all_middle &= tile.zeros[i] == 0;
    if (tile.zeros[i] == lowest && !survey.lowest_zero) {
      survey.lowest_zero = cell(i);
    }
  }
}

}  // namespace

absl::StatusOr<CodeSurvey> SurveyCodes(const ModelReader& model,
                                       const StoredWeight& weight,
                                       DType scale_type) {
  const Codec& codec = *weight.codec;
  const int64_t all = weight.source.shape[0], cols = weight.source.shape[1];
  const int64_t multiple = weight.format->RowMultiple(codec);
  const int64_t cells = codec.grid_cols(cols) * multiple;
  const int64_t chunk = std::max<int64_t>(kChunkCells / cells, 1) * multiple;
  CodeSurvey survey;
  CodeTile tile;
  for (int64_t row = 0; row < all; row += chunk) {
    QUANT_RETURN_IF_ERROR(
        ReadGrid(model, weight, row, std::min(chunk, all - row), tile));
    AddRows(codec, scale_type, tile, survey);
  }
  survey.act_order = !tile.column_groups.empty();
  survey.even_groups = GroupsAreEven(tile.column_groups, codec.group(cols));
  return survey;
}

}  // namespace quant

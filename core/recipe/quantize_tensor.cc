// describe.h: one array, every step of its quantization.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/method/method.h"
#include "core/recipe/describe.h"
#include "core/recipe/scheme_proto.h"

namespace quant {
namespace {

// A small array and all that is made of it.
struct Array {
  std::vector<float> values;
  int64_t rows = 1;
  int64_t cols = 0;
};

absl::StatusOr<Array> ToArray(const v1::QuantizeTensorRequest& request) {
  Array array;
  const int64_t count = request.values_size();
  if (count < 1 || count > kMaxInlineTensorValues) {
    return InvalidSpec(absl::StrCat(count, " values; 1 to ",
                                    kMaxInlineTensorValues, " are allowed"),
                       "values");
  }
  Shape shape(request.shape().begin(), request.shape().end());
  if (shape.empty()) shape = {1, count};
  if (shape.size() == 1) shape.insert(shape.begin(), 1);
  if (shape.size() != 2 || NumElements(shape) != count) {
    return InvalidSpec(absl::StrCat("shape ", ShapeToString(shape), " for ",
                                    count, " values; [out, in] is allowed"),
                       "shape");
  }
  array.rows = shape[0];
  array.cols = shape[1];
  QUANT_ASSIGN_OR_RETURN(const Nonfinite policy, NonfiniteOf(request.recipe()));
  for (int64_t i = 0; i < count; ++i) {
    const float value = request.values(static_cast<int>(i));
    if (std::isfinite(value)) {
      array.values.push_back(value);
    } else if (policy == Nonfinite::kZero) {
      array.values.push_back(0);
    } else {
      return MakeError(absl::StatusCode::kInvalidArgument,
                       Reason::kNonfiniteWeights,
                       absl::StrCat("element ", i, " is NaN or infinite"),
                       absl::StrCat("values[", i, "]"));
    }
  }
  return array;
}

// One weight per column, or none.
absl::Status CheckImportance(const v1::QuantizeTensorRequest& request,
                             const Array& array) {
  const int64_t count = request.importance_size();
  if (count != 0 && count != array.cols) {
    return InvalidSpec(
        absl::StrCat(count, " weights for ", array.cols, " columns"),
        "importance");
  }
  for (float weight : request.importance()) {
    if (weight >= 0 && std::isfinite(weight)) continue;
    return InvalidSpec(
        absl::StrCat("weight ", weight, "; finite and >= 0 are allowed"),
        "importance");
  }
  return absl::OkStatus();
}

absl::Status CheckBlocks(const Scheme& scheme, const Array& array) {
  const int block = InfoOf(scheme.ggml).block_elems;
  if (array.cols % block == 0) return absl::OkStatus();
  return InvalidSpec(absl::StrCat("rows of ", array.cols, " values; scheme \"",
                                  scheme.name, "\" takes multiples of ", block),
                     "shape");
}

void FillCodes(const Codec& codec, const CodeTile& tile,
               v1::QuantizeTensorResponse& out) {
  if (codec.chooses_scales()) {
    out.set_blocks(tile.codes.data(), tile.codes.size());
    return;
  }
  const int64_t count = tile.rows * tile.cols;
  const int bytes = codec.code_bytes();
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* code = tile.codes.data() + i * bytes;
    uint32_t bits = 0;
    for (int b = 0; b < bytes; ++b) bits |= uint32_t{code[b]} << (8 * b);
    const bool integer = codec.scheme().type == NumberType::kInt;
    out.add_codes(integer ? static_cast<int8_t>(bits)
                          : static_cast<int32_t>(bits));
  }
  for (float scale : tile.scales) out.add_scales(scale);
  for (int8_t zero : tile.zeros) out.add_zero_points(zero);
  out.add_scale_shape(codec.grid_rows(tile.rows));
  out.add_scale_shape(codec.grid_cols(tile.cols));
}

void FillDequantized(const Codec& codec, const CodeTile& tile,
                     v1::QuantizeTensorResponse& out) {
  std::vector<float> row(tile.cols);
  for (int64_t r = 0; r < tile.rows; ++r) {
    codec.DecodeRow(tile.codes.data() + r * codec.row_bytes(tile.cols),
                    tile.cols, codec.ScalesOfRow(tile, r, false), row.data());
    for (float value : row) out.add_dequantized(value);
  }
}

double BitsPerValue(const Codec& codec, const CodeTile& tile) {
  const double codes = static_cast<double>(tile.rows * tile.cols);
  if (codec.chooses_scales()) {
    return 8.0 * static_cast<double>(tile.codes.size()) / codes;
  }
  const double zero_bits = codec.has_zeros() ? codec.scheme().bits : 0;
  return codec.scheme().bits +
         static_cast<double>(tile.scales.size()) * (32 + zero_bits) / codes;
}

}  // namespace

absl::StatusOr<v1::QuantizeTensorResponse> QuantizeTensor(
    const v1::QuantizeTensorRequest& request) {
  const auto in_recipe = [](const absl::Status& status) {
    return Annotate(status, "", "recipe.");
  };
  auto scheme = SchemeOf(request.recipe());
  if (!scheme.ok()) return in_recipe(scheme.status());
  auto scale = ScaleRuleOf(request.recipe());
  if (!scale.ok()) return in_recipe(scale.status());
  const std::string& name = request.recipe().method();
  auto method = FindMethod(name.empty() ? "rtn" : name);
  if (!method.ok()) return in_recipe(method.status());
  if ((*method)->Needs() != Statistics::kNone) {
    return InvalidSpec(
        absl::StrCat("method \"", name,
                     "\": needs calibration text, which an array has none of; "
                     "the nearest is \"rtn\""),
        "recipe.method");
  }
  auto codec = MakeCodec(*scheme);
  if (!codec.ok()) return in_recipe(codec.status());
  auto search = SearchLevelOf(request.recipe());
  if (!search.ok()) return in_recipe(search.status());
  QUANT_ASSIGN_OR_RETURN(const Array array, ToArray(request));
  QUANT_RETURN_IF_ERROR(CheckImportance(request, array));
  if ((*codec)->chooses_scales()) {
    QUANT_RETURN_IF_ERROR(CheckBlocks(*scheme, array));
  }

  MethodOptions options{.scale = *scale, .search = *search};
  if (request.importance_size() > 0) {
    options.importance = request.importance().data();
    options.matrix_rows = array.rows;
  }
  MethodScratch scratch;
  TensorStats stats;
  for (int pass = 0; pass < (*method)->ReducePasses(**codec, options); ++pass) {
    (*method)->Combine(
        pass,
        (*method)->Reduce(pass, **codec, options, array.values.data(),
                          array.rows, array.cols, stats, scratch),
        stats);
  }
  CodeTile tile;
  const ErrorSums sums =
      (*method)->Quantize(**codec, options, stats, array.values.data(),
                          array.rows, array.cols, tile, scratch);
  v1::QuantizeTensorResponse response;
  FillCodes(**codec, tile, response);
  FillDequantized(**codec, tile, response);
  response.set_mse(sums.noise / static_cast<double>(array.values.size()));
  response.set_max_abs_error(sums.max_abs_error);
  if (sums.noise > 0) response.set_sqnr_db(sums.sqnr_db());
  response.set_bits_per_value(BitsPerValue(**codec, tile));
  return response;
}

}  // namespace quant

#include "core/codec/codec.h"

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/tensor/float_formats.h"

namespace quant {

#define QUANT_CODEC(type, factory) \
  std::unique_ptr<Codec> factory(const Scheme& scheme);
#include "core/codec/codecs.def"
#undef QUANT_CODEC

namespace {

// Types and scales that only go with some granularities.
std::string WhyNoGrid(const Scheme& scheme) {
  const bool group = scheme.granularity == Granularity::kGroup;
  const auto fixed = [&](int64_t size) {
    return group && scheme.group_size == size
               ? std::string()
               : absl::StrCat("is defined for groups of ", size);
  };
  switch (scheme.scales) {
    case ScaleKind::kE4M3:
      return fixed(16);
    case ScaleKind::kE8M0:
      return fixed(32);
    case ScaleKind::kRowMax127:
      return scheme.granularity == Granularity::kChannel && scheme.symmetric
                 ? ""
                 : "is defined for one scale per row, symmetric";
    default:
      break;
  }
  return scheme.is_table() && !group
             ? "is defined for groups (blocks) along the inputs"
             : "";
}

absl::Status CheckScheme(const Scheme& scheme) {
  if (scheme.has_inner_scales() != (scheme.type == NumberType::kGgml)) {
    return InvalidSpec(absl::StrCat("scheme \"", scheme.name,
                                    "\": scales lie inside its blocks; group "
                                    "size and symmetry can't be chosen"));
  }
  if (const std::string why = WhyNoGrid(scheme); !why.empty()) {
    return InvalidSpec(absl::StrCat("scheme \"", scheme.name, "\": ", why));
  }
  if (scheme.type == NumberType::kInt && (scheme.bits < 2 || scheme.bits > 8)) {
    return InvalidSpec(
        absl::StrCat("integers of ", scheme.bits, " bits; 2 to 8 are allowed"));
  }
  if (scheme.type == NumberType::kGgml) {
    return GgmlKernelsOf(scheme.ggml).encode
               ? absl::OkStatus()
               : InvalidSpec(absl::StrCat("no encoder for block type ",
                                          InfoOf(scheme.ggml).name));
  }
  if (scheme.type != NumberType::kInt && !scheme.symmetric) {
    return InvalidSpec(absl::StrCat(
        "scheme \"", scheme.name,
        "\" holds floats, which are always symmetric; zero points belong to "
        "integers (W4A16_ASYM)"));
  }
  if (scheme.granularity == Granularity::kGroup &&
      (scheme.group_size < 1 || scheme.group_size > kMaxGroupSize)) {
    return InvalidSpec(absl::StrCat("group size ", scheme.group_size, "; 1 to ",
                                    kMaxGroupSize, " are allowed"));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t Codec::grid_rows(int64_t rows) const {
  switch (scheme_.granularity) {
    case Granularity::kNone:
    case Granularity::kInner:
      return 0;
    case Granularity::kTensor:
      return 1;
    case Granularity::kBlock:
      return CeilDiv(rows, scheme_.block_rows);
    default:
      return rows;
  }
}

int64_t Codec::grid_cols(int64_t cols) const {
  if (scheme_.is_cast() || chooses_scales()) return 0;
  return CeilDiv(cols, group(cols));
}

int64_t Codec::group(int64_t cols) const {
  switch (scheme_.granularity) {
    case Granularity::kGroup:
      return scheme_.group_size;
    case Granularity::kBlock:
      return scheme_.block_cols;
    default:
      return cols;
  }
}

int64_t Codec::cell_rows() const {
  return scheme_.granularity == Granularity::kBlock ? scheme_.block_rows : 1;
}

int64_t Codec::row_multiple() const {
  // That many rows have whole sets of nested scales, whatever their length.
  if (scheme_.scales == ScaleKind::kNested) return kNestedScales;
  return cell_rows();
}

void Codec::FromRanges(const float* lo, const float* hi, int64_t n,
                       ScaleType scale_type, float* scales,
                       int8_t* zeros) const {
  for (int64_t i = 0; i < n; ++i) {
    const ScaleZero found = FromRange(lo[i], hi[i], scale_type);
    scales[i] = found.scale;
    if (zeros != nullptr) zeros[i] = found.zero;
  }
}

RowScales Codec::ScalesOfRow(const CodeTile& tile, int64_t row,
                             bool narrow) const {
  if (scheme_.is_cast() || chooses_scales()) return {.group = tile.cols};
  int64_t grid_row = row;
  if (scheme_.granularity == Granularity::kTensor) grid_row = 0;
  if (scheme_.granularity == Granularity::kBlock) {
    grid_row = row / scheme_.block_rows;
  }
  const int64_t offset = grid_row * grid_cols(tile.cols);
  return {.group = group(tile.cols),
          .scales = tile.scales.data() + offset,
          .zeros = tile.zeros.empty() ? nullptr : tile.zeros.data() + offset,
          .narrow = narrow};
}

void Codec::DecodeTileRow(const CodeTile& tile, int64_t row,
                          float* out) const {
  RowScales scales = ScalesOfRow(tile, row, false);
  std::vector<float> per_column;
  std::vector<int8_t> zeros;
  if (!tile.column_groups.empty()) {
    for (int32_t g : tile.column_groups) {
      per_column.push_back(scales.scales[g]);
      if (scales.zeros != nullptr) zeros.push_back(scales.zeros[g]);
    }
    scales = {.group = 1,
              .scales = per_column.data(),
              .zeros = scales.zeros ? zeros.data() : nullptr};
  }
  DecodeRow(tile.codes.data() + row * row_bytes(tile.cols), tile.cols, scales,
            out);
}

absl::StatusOr<std::unique_ptr<Codec>> MakeCodec(const Scheme& scheme) {
  if (absl::Status status = CheckScheme(scheme); !status.ok()) return status;
  switch (scheme.type) {
#define QUANT_CODEC(type, factory) \
  case NumberType::type:           \
    return factory(scheme);
#include "core/codec/codecs.def"
#undef QUANT_CODEC
  }
  return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                   "a number type without a codec");
}

float RoundScaleUp(float value, DType scale_type) {
  switch (scale_type) {
    case DType::kBF16:
      return RoundUpToBf16(value);
    case DType::kF16:
      return RoundUpToF16(value);
    default:
      return value;
  }
}

}  // namespace quant

// Rows of floats <-> codes, for one scheme. A codec knows number types and
// scale grids; it knows neither files nor why a scale was chosen.
//
// Legend: O out features, I in features, R rows of a tile, G scales per row.
// Weights are [O, I] row-major; scales [grid rows, G].
#ifndef QUANT_CORE_CODEC_CODEC_H_
#define QUANT_CORE_CODEC_CODEC_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "core/codec/scheme.h"
#include "core/kernels/ggml_blocks.h"
#include "core/kernels/lane_sums.h"
#include "core/tensor/dtype.h"

namespace quant {

// A scale and its zero point: x_hat = (code - zero) * scale.
struct ScaleZero {
  float scale = 1;
  int8_t zero = 0;
};

// Scales that share a nested scale; bitsandbytes' default.
inline constexpr int64_t kNestedScales = 256;

// What scales are rounded to: the type that the format stores, and for schemes
// with a tensor scale (Scheme::has_tensor_scale) that one.
struct ScaleType {
  ScaleType(DType type, float tensor = 1)  // NOLINT: most are just a type
      : dtype(type), tensor_scale(tensor) {}

  DType dtype = DType::kF32;
  float tensor_scale = 1;
};

// One row's scales.
struct RowScales {
  int64_t group = 0;              // elements per scale along the row
  const float* scales = nullptr;  // [ceil(I / group)]
  const int8_t* zeros = nullptr;  // the same, or null when symmetric
  // Weights and scales are F16 or BF16 values (see IntRow::narrow).
  bool narrow = false;
  // For codecs that choose scales themselves: how much an error in each value
  // matters, [I] >= 0, or null: equally; and how long to search.
  const float* weights = nullptr;
  SearchLevel search = SearchLevel::kDefault;
};

// Codes of R consecutive rows. Buffers are reused from tile to tile.
struct CodeTile {
  int64_t first_row = 0;  // of the tile in its tensor; set by who asks for it
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<uint8_t> codes;  // [R, row_bytes]
  std::vector<float> scales;   // [grid rows, G]
  std::vector<int8_t> zeros;   // the same, or empty when symmetric
  float tensor_scale = 1;      // of schemes that have one
  float input_scale = 1;       // of schemes with static activations
  // ScaleKind::kNested: codes of the scales [as scales], and the scale of each
  // kNestedScales of them.
  std::vector<uint8_t> scale_codes;
  std::vector<float> nested_scales;
  // Group of each column [I], where groups are not consecutive columns; else
  // empty.
  std::vector<int32_t> column_groups;
};

class Codec {
 public:
  explicit Codec(Scheme scheme) : scheme_(std::move(scheme)) {}
  virtual ~Codec() = default;

  const Scheme& scheme() const { return scheme_; }

  // The scale grid of `rows` x `cols` weights. Tiles begin at multiples of
  // row_multiple(), so that a tile's grid is its part of the tensor's.
  int64_t grid_rows(int64_t rows) const;
  int64_t grid_cols(int64_t cols) const;
  // Elements along a row that share a scale.
  int64_t group(int64_t cols) const;
  // Rows that share one scale: 1, or those of a block.
  int64_t cell_rows() const;
  // Tiles begin at multiples of this: rows that share scales, or what scales
  // are made of, are encoded together.
  int64_t row_multiple() const;

  // Bytes of one code: 1, or 2 and 4 for casts. Not for blocks.
  virtual int code_bytes() const { return 1; }
  // Bytes of the codes of one row.
  virtual int64_t row_bytes(int64_t cols) const { return cols * code_bytes(); }
  virtual bool has_zeros() const { return false; }
  // Scales lie inside the codes and are found by EncodeRow: there is no grid,
  // and FromRange is not used.
  bool chooses_scales() const { return scheme_.has_inner_scales(); }

  // The scale that covers [lo, hi] (0 is included by force), rounded upwards
  // to `scale_type` (F16, BF16 or F32) so that it still covers; 1 for an empty
  // range. Then codes are at most half a step off.
  virtual ScaleZero FromRange(float lo, float hi,
                              ScaleType scale_type) const = 0;
  // The same of n ranges. `zeros` is null without zero points.
  virtual void FromRanges(const float* lo, const float* hi, int64_t n,
                          ScaleType scale_type, float* scales,
                          int8_t* zeros) const;

  // Of schemes with a tensor scale, from the range of the whole tensor (what
  // is encoded together) and the mean of its scales by FromRange with a tensor
  // scale of 1. 1 for all others.
  virtual float TensorScale(float lo, float hi, double mean_scale) const {
    return 1;
  }
  // Replaces the scales of a tile by those that loaders will reconstruct. After
  // all of them are chosen, before rows are encoded.
  virtual void StoreScales(ScaleType scale_type, CodeTile& tile) const {
    tile.tensor_scale = scale_type.tensor_scale;
  }

  // x [I] finite -> codes [row_bytes], and adds the row to `sums`.
  virtual void EncodeRow(const float* x, int64_t cols, const RowScales& scales,
                         uint8_t* codes, LaneSums& sums) const = 0;
  virtual void DecodeRow(const uint8_t* codes, int64_t cols,
                         const RowScales& scales, float* out) const = 0;

  // Whether EncodeNarrowRow may be used: EncodeRow with narrow scales for rows
  // of F16 or BF16, finite, straight from their bytes.
  virtual bool takes_narrow_rows() const { return false; }
  virtual void EncodeNarrowRow(DType dtype, const uint8_t* x, int64_t cols,
                               const RowScales& scales, uint8_t* codes,
                               LaneSums& sums) const {}

  // The scales of row `row` of a tile.
  RowScales ScalesOfRow(const CodeTile& tile, int64_t row, bool narrow) const;
  // The values of row `row` of a tile, whatever groups its columns belong to.
  void DecodeTileRow(const CodeTile& tile, int64_t row, float* out) const;

 private:
  Scheme scheme_;
};

// The codec of a scheme, from the table in codecs.def. INVALID_ARGUMENT when
// the scheme's parameters can't be (bits, group size).
absl::StatusOr<std::unique_ptr<Codec>> MakeCodec(const Scheme& scheme);

// The smallest value of `scale_type` >= value (finite, >= 0).
float RoundScaleUp(float value, DType scale_type);

}  // namespace quant

#endif  // QUANT_CORE_CODEC_CODEC_H_

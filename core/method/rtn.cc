// Round to nearest: every weight goes to the nearest code of its scale.
//
// Scale rules, per cell (the elements that share a scale):
//   minmax  the scale that covers [min, max]
//   mse     the range with the least squared error: scale_search.h
//
// Codecs that choose the scales of their blocks (GGUF types) search by
// themselves, by MethodOptions::search; the scale rule does not concern them.
//
// A cell is a row, part of a row, a block of rows and columns, or (with one
// scale per tensor) everything; the last needs passes over the tensor first.
#include <algorithm>
#include <cmath>

#include "core/kernels/convert.h"
#include "core/kernels/narrow_rows.h"
#include "core/kernels/value_weights.h"
#include "core/method/method.h"
#include "core/method/scale_search.h"

namespace quant {
namespace {

class Rtn final : public QuantMethod {
 public:
  Statistics Needs() const override { return Statistics::kNone; }
  absl::Status Check(const Scheme& scheme) const override {
    return absl::OkStatus();
  }

  int ReducePasses(const Codec& codec,
                   const MethodOptions& options) const override {
    if (codec.chooses_scales()) return 0;
    if (codec.scheme().has_tensor_scale()) return 1;
    if (codec.scheme().granularity != Granularity::kTensor) return 0;
    return options.scale == ScaleRule::kMse ? 2 : 1;
  }

  TensorStats Reduce(int pass, const Codec& codec, const MethodOptions& options,
                     const float* x, int64_t rows, int64_t cols,
                     const TensorStats& before,
                     MethodScratch& scratch) const override {
    TensorStats stats;
    if (pass == 0) {
      GroupRanges(x, rows * cols, rows * cols, &stats.lo, &stats.hi);
      if (codec.scheme().scales == ScaleKind::kNested) {
        AddScales(codec, x, rows, cols, stats, scratch);
      }
      return stats;
    }
    const Cell all{.x = x, .rows = 1, .cols = rows * cols};
    stats.candidate_noise.resize(kScaleCandidates);
    for (int i = 0; i < kScaleCandidates; ++i) {
      stats.candidate_noise[i] = CellNoise(
          codec, options.narrow, all,
          ScaleCandidate(codec, options.scale_type, before.lo, before.hi, i),
          scratch);
    }
    return stats;
  }

  void Combine(int pass, const TensorStats& tile,
               TensorStats& tensor) const override {
    if (pass == 0) {
      tensor.lo = std::min(tensor.lo, tile.lo);
      tensor.hi = std::max(tensor.hi, tile.hi);
      tensor.scale_sum += tile.scale_sum;
      tensor.scale_count += tile.scale_count;
      return;
    }
    tensor.candidate_noise.resize(kScaleCandidates);
    for (int i = 0; i < kScaleCandidates; ++i) {
      tensor.candidate_noise[i] += tile.candidate_noise[i];
    }
  }

  ErrorSums Quantize(const Codec& codec, const MethodOptions& options,
                     const TensorStats& stats, const float* x, int64_t rows,
                     int64_t cols, CodeTile& out,
                     MethodScratch& scratch) const override {
    Resize(codec, rows, cols, out);
    const ScaleType type(
        options.scale_type,
        codec.TensorScale(stats.lo, stats.hi, stats.mean_scale()));
    ChooseScales(codec, options, type, stats, x, rows, cols, out, scratch);
    codec.StoreScales(type, out);
    return Encode(codec, options, x, out, scratch);
  }

  std::optional<ErrorSums> QuantizeSource(
      const Codec& codec, const MethodOptions& options, DType dtype,
      const uint8_t* x, int64_t rows, int64_t cols, CodeTile& out,
      MethodScratch& scratch) const override {
    if (codec.chooses_scales()) {
      return QuantizeRows(codec, options, dtype, x, rows, cols, out, scratch);
    }
    const Granularity granularity = codec.scheme().granularity;
    if (!codec.takes_narrow_rows() || !options.narrow ||
        options.scale != ScaleRule::kMinmax ||
        (granularity != Granularity::kGroup &&
         granularity != Granularity::kChannel)) {
      return std::nullopt;
    }
    Resize(codec, rows, cols, out);
    const int64_t groups = codec.grid_cols(cols);
    const int64_t x_row_bytes = cols * static_cast<int64_t>(sizeof(uint16_t));
    const int64_t row_bytes = codec.row_bytes(cols);
    scratch.lo.resize(groups);
    scratch.hi.resize(groups);
    LaneSums lanes;
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* row = x + r * x_row_bytes;
      if (!NarrowGroupRanges(dtype, row, cols, codec.group(cols),
                             scratch.lo.data(), scratch.hi.data())) {
        return std::nullopt;
      }
      SetScales(codec, options.scale_type, scratch, r, groups, out);
      codec.EncodeNarrowRow(dtype, row, cols, codec.ScalesOfRow(out, r, true),
                            out.codes.data() + r * row_bytes, lanes);
    }
    return SumsOf(lanes);
  }

 private:
  // Row by row: what lies between the source's bytes and the codes stays in the
  // level-1 cache.
  static std::optional<ErrorSums> QuantizeRows(const Codec& codec,
                                               const MethodOptions& options,
                                               DType dtype, const uint8_t* x,
                                               int64_t rows, int64_t cols,
                                               CodeTile& out,
                                               MethodScratch& scratch) {
    if (dtype != DType::kF16 && dtype != DType::kBF16) return std::nullopt;
    Resize(codec, rows, cols, out);
    scratch.row.resize(cols);
    LaneSums lanes;
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* bytes =
          x + r * cols * static_cast<int64_t>(sizeof(uint16_t));
      if (!ConvertToF32(dtype, bytes, cols, scratch.row.data())) {
        return std::nullopt;
      }
      EncodeRow(codec, options, scratch.row.data(), r, out, scratch, lanes);
    }
    return SumsOf(lanes);
  }

  static void Resize(const Codec& codec, int64_t rows, int64_t cols,
                     CodeTile& out) {
    out.rows = rows;
    out.cols = cols;
    out.codes.resize(rows * codec.row_bytes(cols));
    out.scales.resize(codec.grid_rows(rows) * codec.grid_cols(cols));
    out.zeros.resize(codec.has_zeros() ? out.scales.size() : 0);
  }

  // Every scale that covers its group, in steps of 2^-24: see TensorStats.
  static void AddScales(const Codec& codec, const float* x, int64_t rows,
                        int64_t cols, TensorStats& stats,
                        MethodScratch& scratch) {
    const int64_t groups = codec.grid_cols(cols);
    scratch.lo.resize(groups);
    scratch.hi.resize(groups);
    for (int64_t r = 0; r < rows; ++r) {
      GroupRanges(x + r * cols, cols, codec.group(cols), scratch.lo.data(),
                  scratch.hi.data());
      for (int64_t g = 0; g < groups; ++g) {
        const float scale =
            codec.FromRange(scratch.lo[g], scratch.hi[g], DType::kF32).scale;
        stats.scale_sum += std::trunc(scale * 0x1p24) * 0x1p-24;
      }
      stats.scale_count += groups;
    }
  }

  // The scales of one row of the grid that cover the ranges in `scratch`.
  static void SetScales(const Codec& codec, ScaleType type,
                        const MethodScratch& scratch, int64_t grid_row,
                        int64_t grid_cols, CodeTile& out) {
    const int64_t first = grid_row * grid_cols;
    codec.FromRanges(scratch.lo.data(), scratch.hi.data(), grid_cols, type,
                     out.scales.data() + first,
                     out.zeros.empty() ? nullptr : out.zeros.data() + first);
  }

  static ScaleZero TensorScale(const Codec& codec, const MethodOptions& options,
                               const TensorStats& stats) {
    int best = 0;
    for (int i = 1; i < static_cast<int>(stats.candidate_noise.size()); ++i) {
      if (stats.candidate_noise[i] < stats.candidate_noise[best]) best = i;
    }
    return ScaleCandidate(codec, options.scale_type, stats.lo, stats.hi, best);
  }

  static void ChooseScales(const Codec& codec, const MethodOptions& options,
                           ScaleType type, const TensorStats& stats,
                           const float* x, int64_t rows, int64_t cols,
                           CodeTile& out, MethodScratch& scratch) {
    const int64_t grid_rows = codec.grid_rows(rows);
    const int64_t grid_cols = codec.grid_cols(cols);
    const auto set = [&](int64_t index, ScaleZero value) {
      out.scales[index] = value.scale;
      if (!out.zeros.empty()) out.zeros[index] = value.zero;
    };
    if (out.scales.empty()) return;
    if (codec.scheme().granularity == Granularity::kTensor) {
      set(0, TensorScale(codec, options, stats));
      return;
    }
    const int64_t group = codec.group(cols);
    const int64_t cell_rows = codec.cell_rows();
    scratch.lo.resize(2 * grid_cols);
    scratch.hi.resize(2 * grid_cols);
    for (int64_t gr = 0; gr < grid_rows; ++gr) {
      const int64_t first = gr * cell_rows;
      const int64_t count = std::min(cell_rows, rows - first);
      RangesOfRows(x + first * cols, count, cols, group, grid_cols, scratch);
      if (options.scale == ScaleRule::kMinmax) {
        SetScales(codec, type, scratch, gr, grid_cols, out);
        continue;
      }
      for (int64_t gc = 0; gc < grid_cols; ++gc) {
        const Cell cell{.x = x + first * cols + gc * group,
                        .rows = count,
                        .cols = std::min(group, cols - gc * group),
                        .stride = cols,
                        .lo = scratch.lo[gc],
                        .hi = scratch.hi[gc]};
        set(gr * grid_cols + gc,
            BestScale(codec, options.narrow, type, cell, scratch));
      }
    }
  }

  // Ranges per group over `count` rows, in the first half of lo and hi.
  static void RangesOfRows(const float* x, int64_t count, int64_t cols,
                           int64_t group, int64_t grid_cols,
                           MethodScratch& scratch) {
    GroupRanges(x, cols, group, scratch.lo.data(), scratch.hi.data());
    for (int64_t r = 1; r < count; ++r) {
      float* lo = scratch.lo.data() + grid_cols;
      float* hi = scratch.hi.data() + grid_cols;
      GroupRanges(x + r * cols, cols, group, lo, hi);
      for (int64_t g = 0; g < grid_cols; ++g) {
        scratch.lo[g] = std::min(scratch.lo[g], lo[g]);
        scratch.hi[g] = std::max(scratch.hi[g], hi[g]);
      }
    }
  }

  static ErrorSums Encode(const Codec& codec, const MethodOptions& options,
                          const float* x, CodeTile& out,
                          MethodScratch& scratch) {
    LaneSums lanes;
    for (int64_t r = 0; r < out.rows; ++r) {
      EncodeRow(codec, options, x + r * out.cols, r, out, scratch, lanes);
    }
    return SumsOf(lanes);
  }

  // Row r of the tile.
  static void EncodeRow(const Codec& codec, const MethodOptions& options,
                        const float* row, int64_t r, CodeTile& out,
                        MethodScratch& scratch, LaneSums& lanes) {
    RowScales scales = codec.ScalesOfRow(out, r, options.narrow);
    if (const float* importance =
            options.ImportanceOf(out.first_row + r, out.cols)) {
      scratch.weights.resize(out.cols);
      WeighValues(row, importance, out.cols, scratch.weights.data());
      scales.weights = scratch.weights.data();
    }
    scales.search = options.search;
    codec.EncodeRow(row, out.cols, scales,
                    out.codes.data() + r * codec.row_bytes(out.cols), lanes);
  }

  static ErrorSums SumsOf(const LaneSums& lanes) {
    ErrorSums sums;
    sums.noise = CombineLanes(lanes.noise);
    sums.signal = CombineLanes(lanes.signal);
    sums.max_abs_error = lanes.max_abs_error;
    sums.overflow = lanes.overflow;
    sums.underflow = lanes.underflow;
    return sums;
  }
};

}  // namespace

const QuantMethod& RtnMethod() {
  static const Rtn method;
  return method;
}

}  // namespace quant

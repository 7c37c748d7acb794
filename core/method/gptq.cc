// GPTQ: columns are rounded one after the other, and those that are left take
// up the error, so that outputs change least:
//
//   minimize tr(d H d^T), d = W - W_hat, H = 2 sum of x x^T over calibration
//
// Source: Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate
// Post-Training Quantization for Generative Pre-trained Transformers", 2022:
// columns in one order for all rows, a dampened Hessian, updates of later
// columns lazily by blocks of 128, optionally columns by falling diagonal of H
// ("act-order").
//
// The paper takes the Cholesky factor of H^-1. Here the Hessian itself is
// factored,
//
//   H = (I + S) D (I + S)^T                              core/kernels/udu.h
//   v_i = w_i + sum_{j<i} d_j S_ji     w_hat_i = round(v_i)     d = w - w_hat
//
// which gives the same weights without an inverse: Chee et al., "QuIP: 2-Bit
// Quantization of Large Language Models with Guarantees", 2023, theorem 6
// (docs/adr/0016).
//
// A group's scale is found when its first column's block begins, from the
// weights that make up best for the errors of the blocks before: as the paper's
// code does. Of such a run of columns, with w what they were, v what the sums
// over the blocks before give, and S within the run,
//
//   w + (v - w) (I + S)^-1
//
//
// What differs here:
//  * A column whose input was always 0 is rounded to nearest; the paper's code
//    sets it to zero, which forgets what other inputs may need.
//  * Where the factorization fails, the damping is multiplied by 10, three
//    times at most; then weights are rounded to nearest.
//
// Legend: O out features, I = N in features, R rows of a tile, P rows padded, C
// columns of a block, G groups.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/kernels/convert.h"
#include "core/kernels/error_sums.h"
#include "core/kernels/gemm.h"
#include "core/kernels/gptq_block.h"
#include "core/kernels/udu.h"
#include "core/method/method.h"
#include "core/method/scale_search.h"

namespace quant {

const QuantMethod& RtnMethod();  // methods.def

namespace {

constexpr int64_t kBlock = 128;
constexpr int64_t kFactorColumns = 512;
constexpr double kMoreDamping = 10;
constexpr int kAttempts = 4;

struct GptqFactor final : Preparation {
  std::vector<int32_t> order;  // [N]: column i is the order[i]-th of the weight
  // [N, N]: S above the diagonal, and within blocks mirrored below.
  std::vector<float> values;
  // Per block, [C, C]: (I + S)^-1 of its own columns, rows kBlock apart.
  std::vector<float> inverses;

  int64_t n() const { return static_cast<int64_t>(order.size()); }
};

std::vector<int32_t> OrderOf(const HessianView& hessian, bool act_order) {
  std::vector<int32_t> order(hessian.n);
  std::iota(order.begin(), order.end(), 0);
  if (!act_order) return order;
  const auto importance = [&](int32_t i) {
    return hessian.values[i * hessian.n + i];
  };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return importance(a) > importance(b);
  });
  return order;
}

// The Hessian in the order of the columns, dampened; dead columns count as
// average ones. False where it is not finite.
bool Load(const HessianView& hessian, double damping, GptqFactor& out) {
  const int64_t n = hessian.n;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += hessian.values[i * n + i];
  const double mean =
      sum / static_cast<double>(std::max<int64_t>(1, n - out.dead_columns));
  if (!std::isfinite(mean) || mean <= 0) return false;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t a = out.order[i];
    float* row = out.values.data() + i * n;
    for (int64_t j = i; j < n; ++j) {
      const int64_t b = out.order[j];
      row[j] = hessian.values[std::min(a, b) * n + std::max(a, b)];
    }
    const double own = row[i] == 0 ? mean : row[i];
    row[i] = static_cast<float>(own + damping * mean);
  }
  return true;
}

void Mirror(GptqFactor& factor) {
  const int64_t n = factor.n();
  float* values = factor.values.data();
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t end = std::min(n, first + kBlock);
    for (int64_t i = first; i < end; ++i) {
      for (int64_t j = first; j < i; ++j) values[i * n + j] = values[j * n + i];
    }
  }
}

// Row by row from the last, in double.
void InvertBlock(const float* s, int64_t stride, int64_t n, float* out) {
  std::vector<double> inverse(n * n);
  for (int64_t r = n - 1; r >= 0; --r) {
    double* row = inverse.data() + r * n;
    row[r] = 1;
    for (int64_t k = r + 1; k < n; ++k) {
      const double factor = s[r * stride + k];
      const double* other = inverse.data() + k * n;
      for (int64_t c = k; c < n; ++c) row[c] -= factor * other[c];
    }
    for (int64_t c = 0; c < n; ++c) {
      out[r * kBlock + c] = static_cast<float>(row[c]);
    }
  }
}

void InvertBlocks(ThreadPool& pool, GptqFactor& factor) {
  const int64_t n = factor.n();
  const int64_t blocks = CeilDiv(n, kBlock);
  factor.inverses.assign(blocks * kBlock * kBlock, 0.0f);
  std::atomic<int64_t> next = 0;
  pool.RunOnAll([&](int) {
    for (int64_t i = next++; i < blocks; i = next++) {
      InvertBlock(factor.values.data() + i * kBlock * (n + 1), n,
                  std::min(kBlock, n - i * kBlock),
                  factor.inverses.data() + i * kBlock * kBlock);
    }
  });
}

// One tile while it is quantized. Matrices in scratch have the columns
// outermost: [I, P].
class GptqTile {
 public:
  GptqTile(const Codec& codec, const MethodOptions& options, const float* x,
           CodeTile& out, MethodScratch& scratch)
      : codec_(codec),
        options_(options),
        factor_(static_cast<const GptqFactor&>(*options.preparation)),
        x_(x),
        out_(out),
        scratch_(scratch),
        n_(out.cols),
        p_(RoundUp(out.rows, kGptqRows)),
        group_(codec.group(out.cols)),
        scales_(codec.grid_cols(out.cols) * p_, 1.0f),
        zeros_(scales_.size()),
        codes_(kBlock * p_) {}

  void Run() {
    scratch_.columns.assign(n_ * p_, 0.0f);
    scratch_.block.resize(2 * kBlock * p_);
    Gather(0, n_, scratch_.columns.data());
    if (fixed_groups()) {
      for (int64_t g = 0; g * group_ < n_; ++g) {
        ChooseScales(g, scratch_.columns.data());
      }
    }
    for (int64_t first = 0; first < n_; first += kBlock) {
      RunBlock(first, std::min(kBlock, n_ - first));
    }
    StoreScales();
  }

 private:
  static int64_t RoundUp(int64_t value, int64_t multiple) {
    return CeilDiv(value, multiple) * multiple;
  }

  // Whether groups are those of the weight's columns, with scales from the
  // weight as it was.
  bool fixed_groups() const {
    return options_.calibrated.act_order && options_.calibrated.static_groups;
  }
  int64_t GroupOf(int64_t i) const {
    return (fixed_groups() ? factor_.order[i] : i) / group_;
  }

  // Columns [first, first + count) of the weight, in the factor's order.
  void Gather(int64_t first, int64_t count, float* out) const {
    for (int64_t r = 0; r < out_.rows; ++r) {
      const float* row = x_ + r * n_;
      for (int64_t i = 0; i < count; ++i) {
        out[i * p_ + r] = row[factor_.order[first + i]];
      }
    }
  }

  void RunBlock(int64_t first, int64_t count) {
    int32_t groups[kBlock];
    for (int64_t i = 0; i < count; ++i) {
      groups[i] = static_cast<int32_t>(GroupOf(first + i));
    }
    if (!fixed_groups()) ChooseScalesFrom(first, count);
    const int half = 1 << (codec_.scheme().bits - 1);
    float* original = scratch_.block.data();
    float* deltas = original + kBlock * p_;
    float* w = scratch_.columns.data() + first * p_;
    std::fill_n(original, count * p_, 0.0f);
    Gather(first, count, original);
    RunGptqBlock({.rows = p_,
                  .columns = count,
                  .s = factor_.values.data() + first * n_ + first,
                  .s_stride = n_,
                  .groups = groups,
                  .scales = scales_.data(),
                  .zeros = zeros_.data(),
                  .q_min = -half,
                  .q_max = half - 1},
                 original, w, deltas, codes_.data());
    StoreCodes(first, count);
    const int64_t next = first + count;
    Gemm({.m = n_ - next,
          .n = p_,
          .k = count,
          .x = factor_.values.data() + first * n_ + next,
          .x_stride = n_,
          .x_is_km = true,
          .w = deltas,
          .w_stride = p_,
          .w_is_kn = true,
          .y = scratch_.columns.data() + next * p_,
          .y_stride = p_,
          .beta = 1});
  }

  void StoreCodes(int64_t first, int64_t count) {
    for (int64_t r = 0; r < out_.rows; ++r) {
      uint8_t* row = out_.codes.data() + r * n_;
      for (int64_t i = 0; i < count; ++i) {
        row[factor_.order[first + i]] =
            static_cast<uint8_t>(codes_[i * p_ + r]);
      }
    }
  }

  // Of all groups that begin within a block.
  void ChooseScalesFrom(int64_t first, int64_t count) {
    const int64_t g = CeilDiv(first, group_);
    const int64_t end_group = CeilDiv(first + count, group_);
    if (g == end_group) return;
    const int64_t end = std::min(n_, end_group * group_);
    const float* columns = scratch_.columns.data();
    if (first > 0) {
      Settle(first, end);
      columns = settled_.data() - first * p_;
    }
    for (int64_t i = g; i < end_group; ++i) ChooseScales(i, columns);
  }

  // Columns [first, end) as they make up best for all errors before, to
  // settled_. `first` begins a block.
  void Settle(int64_t first, int64_t end) {
    const int64_t size = (end - first) * p_;
    settled_.assign(size, 0.0f);
    Gather(first, end - first, settled_.data());
    std::vector<float>& open = scratch_.open;  // v - w of what is left
    open.assign(scratch_.columns.begin() + first * p_,
                scratch_.columns.begin() + end * p_);
    for (int64_t i = 0; i < size; ++i) open[i] -= settled_[i];
    for (int64_t at = first; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      const int64_t next = at + count;
      float* moved = scratch_.block.data();
      Gemm({.m = count,
            .n = p_,
            .k = count,
            .x = factor_.inverses.data() + at * kBlock,
            .x_stride = kBlock,
            .x_is_km = true,
            .w = open.data() + (at - first) * p_,
            .w_stride = p_,
            .w_is_kn = true,
            .y = moved,
            .y_stride = p_});
      float* settled = settled_.data() + (at - first) * p_;
      for (int64_t i = 0; i < count * p_; ++i) settled[i] += moved[i];
      Gemm({.m = end - next,
            .n = p_,
            .k = count,
            .x = factor_.values.data() + at * n_ + next,
            .x_stride = n_,
            .x_is_km = true,
            .w = moved,
            .w_stride = p_,
            .w_is_kn = true,
            .y = open.data() + (next - first) * p_,
            .y_stride = p_,
            .alpha = -1,
            .beta = 1});
    }
  }

  // Of group g, from `columns` [I, P].
  void ChooseScales(int64_t g, const float* columns) {
    const int64_t first = g * group_;
    const int64_t count = std::min(group_, n_ - first);
    std::vector<float> rows(out_.rows * count);
    for (int64_t i = 0; i < count; ++i) {
      const float* column = columns + ColumnOf(first + i) * p_;
      for (int64_t r = 0; r < out_.rows; ++r) rows[r * count + i] = column[r];
    }
    for (int64_t r = 0; r < out_.rows; ++r) {
      Cell cell{.x = rows.data() + r * count, .rows = 1, .cols = count};
      GroupRanges(cell.x, count, count, &cell.lo, &cell.hi);
      const ScaleZero scale =
          options_.scale == ScaleRule::kMse
              ? BestScale(codec_, false, options_.scale_type, cell, scratch_)
              : codec_.FromRange(cell.lo, cell.hi, options_.scale_type);
      scales_[g * p_ + r] = scale.scale;
      zeros_[g * p_ + r] = scale.zero;
    }
  }

  // Where column i of a group is among the columns in the factor's order.
  int64_t ColumnOf(int64_t i) {
    if (!fixed_groups()) return i;
    if (place_.empty()) {
      place_.resize(n_);
      for (int64_t k = 0; k < n_; ++k) place_[factor_.order[k]] = k;
    }
    return place_[i];
  }

  void StoreScales() {
    const int64_t groups = codec_.grid_cols(n_);
    for (int64_t r = 0; r < out_.rows; ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        out_.scales[r * groups + g] = scales_[g * p_ + r];
        if (out_.zeros.empty()) continue;
        out_.zeros[r * groups + g] = static_cast<int8_t>(zeros_[g * p_ + r]);
      }
    }
    if (!options_.calibrated.act_order || fixed_groups() || groups == 1) return;
    out_.column_groups.resize(n_);
    for (int64_t i = 0; i < n_; ++i) {
      out_.column_groups[factor_.order[i]] = static_cast<int32_t>(i / group_);
    }
  }

  const Codec& codec_;
  const MethodOptions& options_;
  const GptqFactor& factor_;
  const float* const x_;
  CodeTile& out_;
  MethodScratch& scratch_;
  const int64_t n_;
  const int64_t p_;
  const int64_t group_;
  std::vector<float> scales_;  // [G, P]
  std::vector<float> zeros_;   // [G, P]
  std::vector<int8_t> codes_;  // [C, P]
  std::vector<int64_t> place_;
  std::vector<float> settled_;
};

class Gptq final : public QuantMethod {
 public:
  Statistics Needs() const override { return Statistics::kHessian; }
  std::vector<absl::string_view> Options() const override {
    return {"act_order", "static_groups", "true_sequential", "damping"};
  }

  absl::Status Check(const Scheme& scheme) const override {
    return CheckGroupedIntegers("gptq", "it finds codes and scales of integers",
                                scheme);
  }

  std::unique_ptr<Preparation> Prepare(
      ThreadPool& pool, const CalibratedOptions& options,
      const HessianView& hessian) const override {
    auto factor = std::make_unique<GptqFactor>();
    factor->order = OrderOf(hessian, options.act_order);
    for (int64_t i = 0; i < hessian.n; ++i) {
      factor->dead_columns += hessian.values[i * (hessian.n + 1)] == 0;
    }
    factor->values.resize(hessian.n * hessian.n);
    factor->damping = options.damping;
    for (int i = 0; i < kAttempts; ++i) {
      if (!Load(hessian, factor->damping, *factor)) break;
      if (FactorUdu(pool, hessian.n, factor->values.data())) {
        Mirror(*factor);
        InvertBlocks(pool, *factor);
        return factor;
      }
      factor->damping *= kMoreDamping;
    }
    factor->usable = false;
    return factor;
  }

  int64_t PreparationBytes(int64_t cols) const override {
    // A panel of the factorization beside the Hessian.
    return (cols * cols + cols * (kFactorColumns + kBlock)) *
               static_cast<int64_t>(sizeof(float)) +
           cols * static_cast<int64_t>(sizeof(int32_t));
  }
  int64_t ScratchBytes(int64_t rows, int64_t cols) const override {
    const int64_t padded = CeilDiv(rows, kGptqRows) * kGptqRows;
    // Columns; a block twice, its codes; a group three times.
    return (4 * cols + 3 * kBlock) * padded *
               static_cast<int64_t>(sizeof(float)) +
           cols * static_cast<int64_t>(sizeof(int64_t));
  }

  ErrorSums Quantize(const Codec& codec, const MethodOptions& options,
                     const TensorStats& stats, const float* x, int64_t rows,
                     int64_t cols, CodeTile& out,
                     MethodScratch& scratch) const override {
    out.column_groups.clear();
    if (options.preparation == nullptr || !options.preparation->usable) {
      return RtnMethod().Quantize(codec, options, stats, x, rows, cols, out,
                                  scratch);
    }
    out.rows = rows;
    out.cols = cols;
    out.codes.resize(rows * codec.row_bytes(cols));
    out.scales.resize(rows * codec.grid_cols(cols));
    out.zeros.resize(codec.has_zeros() ? out.scales.size() : 0);
    GptqTile(codec, options, x, out, scratch).Run();
    return Measure(codec, x, out);
  }

 private:
  static ErrorSums Measure(const Codec& codec, const float* x,
                           const CodeTile& tile) {
    LaneSums lanes;
    std::vector<float> back(tile.cols);
    for (int64_t r = 0; r < tile.rows; ++r) {
      codec.DecodeTileRow(tile, r, back.data());
      AddErrors(x + r * tile.cols, back.data(), tile.cols, lanes);
    }
    ErrorSums sums;
    sums.noise = CombineLanes(lanes.noise);
    sums.signal = CombineLanes(lanes.signal);
    sums.max_abs_error = lanes.max_abs_error;
    return sums;
  }
};

}  // namespace

const QuantMethod& GptqMethod() {
  static const Gptq method;
  return method;
}

}  // namespace quant

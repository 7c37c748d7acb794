// AWQ: columns that meet large inputs are made larger before they are rounded,
// and those inputs smaller; then ranges are clipped where outputs gain by it.
//
//   s_i = m_i^a / sqrt(min m^a max m^a)    m_i: size of input i, a in [0, 1]
//   minimize tr(d H d^T), d = Q(W diag(s)) diag(s)^-1 - W
//
// over a on a grid; Q rounds to nearest with, per scale, the range that
// minimizes the same error within its columns. H = 2 sum of x x^T.
//
// Source: Lin, Tang, Tang, Yang, Dang, Gan and Han, "AWQ: Activation-aware
// Weight Quantization for LLM Compression and Acceleration", 2023: the search
// over powers of the mean magnitude of inputs, section 3.2, and of ranges.
//
// What differs here:
//  * The size of an input is the root of its mean square, the diagonal of H,
//    which also gives the error of outputs: no tokens are kept.
//  * Powers are compared with the ranges that they will get.
//  * Ranges wider than the whole one are tried, too (scale_search.h), and a
//    group of more than 128 columns sees the correlations of 128 at a time.
//  * Columns that share a factor have the mean of their mean squares.
//
// Legend: O out features, I = N in features, R rows of a tile, C columns of a
// block.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "core/base/checked_math.h"
#include "core/kernels/convert.h"
#include "core/kernels/error_sums.h"
#include "core/kernels/gemm.h"
#include "core/method/input_scales.h"
#include "core/method/method.h"
#include "core/method/scale_search.h"

namespace quant {

const QuantMethod& RtnMethod();  // methods.def

namespace {

constexpr int64_t kBlock = 128;
constexpr int kPowers = 20;
// Powers are compared on so many rows of each weight, evenly spread: factors
// are those of columns, and a few hundred rows show their errors.
constexpr int64_t kSampledRows = 512;
constexpr int64_t kTileRows = 128;
// And with every third of the ranges.
constexpr int kSearchStep = 3;

// The blocks of C columns on the diagonal of the Hessian.
struct AwqInputs final : Preparation {
  int64_t n = 0;
  std::vector<float> blocks;  // [ceil(N / C), C, C], both triangles

  // `hessian`: of inputs before they are divided by `factors` [I].
  AwqInputs(const HessianView& hessian, const std::vector<float>& factors)
      : n(hessian.n), blocks(CeilDiv(n, kBlock) * kBlock * kBlock) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t first = i / kBlock * kBlock;
      for (int64_t j = i; j < std::min(n, first + kBlock); ++j) {
        const float value =
            hessian.values[i * n + j] / (factors[i] * factors[j]);
        float* block = blocks.data() + first * kBlock;
        block[(i - first) * kBlock + (j - first)] = value;
        block[(j - first) * kBlock + (i - first)] = value;
      }
      dead_columns += hessian.values[i * (n + 1)] == 0;
    }
  }
};

// Sums of y_i z_i, each row of [R, C] apart, onto `sums` [R].
void AddProducts(const float* y, const float* z, int64_t rows, int64_t cols,
                 int64_t z_stride, double* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t i = 0; i < cols; ++i) {
      sum += static_cast<double>(y[r * cols + i]) * z[r * z_stride + i];
    }
    sums[r] += sum;
  }
}

// One tile: scales and zero points of all its groups, then codes. Of the ranges
// that there are, every `step`-th is tried.
class AwqTile {
 public:
  AwqTile(const Codec& codec, const MethodOptions& options,
          const AwqInputs& inputs, const float* x, int step, CodeTile& out,
          MethodScratch& scratch)
      : codec_(codec),
        options_(options),
        inputs_(inputs),
        x_(x),
        step_(step),
        out_(out),
        scratch_(scratch),
        group_(codec.group(out.cols)),
        groups_(codec.grid_cols(out.cols)) {}

  ErrorSums Run() {
    const int64_t row_bytes = codec_.row_bytes(out_.cols);
    out_.codes.resize(out_.rows * row_bytes);
    out_.scales.resize(out_.rows * groups_);
    out_.zeros.resize(codec_.has_zeros() ? out_.scales.size() : 0);
    for (int64_t g = 0; g < groups_; ++g) ChooseScales(g);
    LaneSums lanes;
    for (int64_t r = 0; r < out_.rows; ++r) {
      codec_.EncodeRow(x_ + r * out_.cols, out_.cols,
                       codec_.ScalesOfRow(out_, r, options_.narrow),
                       out_.codes.data() + r * row_bytes, lanes);
    }
    ErrorSums sums;
    sums.noise = CombineLanes(lanes.noise);
    sums.signal = CombineLanes(lanes.signal);
    sums.max_abs_error = lanes.max_abs_error;
    return sums;
  }

 private:
  // Of group `g` of every row: the whole range is tried first, and kept on
  // ties.
  void ChooseScales(int64_t g) {
    const int64_t first = g * group_;
    const int64_t count = std::min(group_, out_.cols - first);
    std::vector<double> least(out_.rows), noise(out_.rows);
    std::vector<ScaleZero> scales(out_.rows);
    scratch_.lo.resize(out_.rows);
    scratch_.hi.resize(out_.rows);
    for (int64_t r = 0; r < out_.rows; ++r) {
      GroupRanges(x_ + r * out_.cols + first, count, count,
                  scratch_.lo.data() + r, scratch_.hi.data() + r);
    }
    for (int i = 0; i < kScaleCandidates; i += step_) {
      for (int64_t r = 0; r < out_.rows; ++r) {
        scales[r] = ScaleCandidate(codec_, options_.scale_type, scratch_.lo[r],
                                   scratch_.hi[r], i);
      }
      Measure(first, count, scales, noise);
      for (int64_t r = 0; r < out_.rows; ++r) {
        if (i > 0 && !(noise[r] < least[r])) continue;
        least[r] = noise[r];
        const int64_t cell = r * groups_ + g;
        out_.scales[cell] = scales[r].scale;
        if (!out_.zeros.empty()) out_.zeros[cell] = scales[r].zero;
      }
    }
  }

  // What columns [first, first + count) of every row add to the error of
  // outputs.
  void Measure(int64_t first, int64_t count,
               const std::vector<ScaleZero>& scales,
               std::vector<double>& noise) {
    std::vector<float>& deltas = scratch_.columns;  // [R, count]
    deltas.resize(out_.rows * count);
    scratch_.codes.resize(count);
    for (int64_t r = 0; r < out_.rows; ++r) {
      const float* x = x_ + r * out_.cols + first;
      float* delta = deltas.data() + r * count;
      const RowScales scale{
          .group = count,
          .scales = &scales[r].scale,
          .zeros = codec_.has_zeros() ? &scales[r].zero : nullptr,
          .narrow = options_.narrow};
      LaneSums unused;
      codec_.EncodeRow(x, count, scale, scratch_.codes.data(), unused);
      codec_.DecodeRow(scratch_.codes.data(), count, scale, delta);
      for (int64_t i = 0; i < count; ++i) delta[i] -= x[i];
    }
    std::fill(noise.begin(), noise.end(), 0.0);
    for (int64_t at = first; at < first + count;) {
      const int64_t block = at / kBlock * kBlock;
      const int64_t n = std::min(block + kBlock, first + count) - at;
      scratch_.block.resize(out_.rows * n);
      const float* delta = deltas.data() + (at - first);
      Gemm({.m = out_.rows,
            .n = n,
            .k = n,
            .x = delta,
            .x_stride = count,
            .w = inputs_.blocks.data() + block * kBlock +
                 (at - block) * (kBlock + 1),
            .w_stride = kBlock,
            .y = scratch_.block.data(),
            .y_stride = n});
      AddProducts(scratch_.block.data(), delta, out_.rows, n, count,
                  noise.data());
      at += n;
    }
  }

  const Codec& codec_;
  const MethodOptions& options_;
  const AwqInputs& inputs_;
  const float* const x_;
  const int step_;
  CodeTile& out_;
  MethodScratch& scratch_;
  const int64_t group_;
  const int64_t groups_;
};

// Compares factors by the error that some rows of all weights get with them.
class AwqSearch {
 public:
  AwqSearch(ThreadPool& pool, const InputView& inputs)
      : pool_(pool), inputs_(inputs), n_(inputs.hessian.n), hessian_(n_ * n_) {
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = i; j < n_; ++j) {
        hessian_[i * n_ + j] = inputs.hessian.values[i * n_ + j];
        hessian_[j * n_ + i] = hessian_[i * n_ + j];
      }
    }
    for (const WeightView& weight : inputs.weights) {
      const int64_t step = CeilDiv(weight.rows, kSampledRows);
      for (int64_t row = 0; row < weight.rows; row += step * kTileRows) {
        tiles_.push_back({.weight = &weight, .first = row, .step = step});
      }
    }
  }

  double ErrorOf(const std::vector<float>& factors) const {
    const AwqInputs blocks(inputs_.hessian, factors);
    std::vector<double> errors(tiles_.size());
    std::atomic<size_t> next = 0;
    pool_.RunOnAll([&](int) {
      MethodScratch scratch;
      for (size_t i = next++; i < tiles_.size(); i = next++) {
        errors[i] = ErrorOf(tiles_[i], factors, blocks, scratch);
      }
    });
    return std::accumulate(errors.begin(), errors.end(), 0.0);
  }

 private:
  // Rows first, first + step, ... of a weight, kTileRows of them.
  struct Tile {
    const WeightView* weight;
    int64_t first;
    int64_t step;
  };

  double ErrorOf(const Tile& tile, const std::vector<float>& factors,
                 const AwqInputs& blocks, MethodScratch& scratch) const {
    const WeightView& weight = *tile.weight;
    const int64_t rows =
        std::min(kTileRows, CeilDiv(weight.rows - tile.first, tile.step));
    std::vector<float> x(rows * n_), deltas(rows * n_);
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = weight.x + (tile.first + r * tile.step) * n_;
      for (int64_t i = 0; i < n_; ++i) x[r * n_ + i] = row[i] * factors[i];
    }
    CodeTile codes;
    codes.rows = rows;
    codes.cols = n_;
    AwqTile(*weight.codec, *weight.options, blocks, x.data(), kSearchStep,
            codes, scratch)
        .Run();
    for (int64_t r = 0; r < rows; ++r) {
      float* delta = deltas.data() + r * n_;
      weight.codec->DecodeTileRow(codes, r, delta);
      for (int64_t i = 0; i < n_; ++i) {
        delta[i] = (delta[i] - x[r * n_ + i]) / factors[i];
      }
    }
    Gemm({.m = rows,
          .n = n_,
          .k = n_,
          .x = deltas.data(),
          .x_stride = n_,
          .w = hessian_.data(),
          .w_stride = n_,
          .y = x.data(),
          .y_stride = n_});
    std::vector<double> sums(rows);
    AddProducts(x.data(), deltas.data(), rows, n_, n_, sums.data());
    return static_cast<double>(tile.step) *
           std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  ThreadPool& pool_;
  const InputView& inputs_;
  const int64_t n_;
  std::vector<float> hessian_;  // both triangles
  std::vector<Tile> tiles_;
};

class Awq final : public QuantMethod {
 public:
  Statistics Needs() const override { return Statistics::kHessian; }
  bool ScalesInputs() const override { return true; }

  absl::Status Check(const Scheme& scheme) const override {
    return CheckGroupedIntegers("awq", "it finds ranges of integers", scheme);
  }

  std::vector<float> InputScales(ThreadPool& pool,
                                 const CalibratedOptions& options,
                                 const InputView& inputs) const override {
    const int64_t n = inputs.hessian.n;
    std::vector<double> sizes(n);
    for (int64_t i = 0; i < n; ++i) {
      sizes[i] = std::max(0.0f, inputs.hessian.values[i * (n + 1)]);
    }
    MeansOfTied(inputs.ties, sizes);
    for (double& size : sizes) size = std::sqrt(size);
    const AwqSearch search(pool, inputs);
    std::vector<float> best(n, 1.0f);
    double least = search.ErrorOf(best);
    for (int i = 1; i <= kPowers; ++i) {
      std::vector<double> powers(n);
      for (int64_t c = 0; c < n; ++c) {
        powers[c] = std::pow(sizes[c], static_cast<double>(i) / kPowers);
      }
      std::vector<float> factors = CenteredFactors(powers);
      const double error = search.ErrorOf(factors);
      if (!(error < least)) continue;
      least = error;
      best = std::move(factors);
    }
    return best;
  }

  std::unique_ptr<Preparation> Prepare(
      ThreadPool& pool, const CalibratedOptions& options,
      const HessianView& hessian) const override {
    return std::make_unique<AwqInputs>(hessian,
                                       std::vector<float>(hessian.n, 1.0f));
  }

  int64_t PreparationBytes(int64_t cols) const override {
    // The Hessian's other triangle, blocks, and vectors of columns.
    return (cols * cols + (cols + kBlock) * kBlock + 16 * cols) *
           static_cast<int64_t>(sizeof(float));
  }
  int64_t ScratchBytes(int64_t rows, int64_t cols) const override {
    // Of the search: weights, deltas, codes and scales; the group of a tile.
    return 6 * std::max(rows, kTileRows) * cols *
           static_cast<int64_t>(sizeof(float));
  }

  ErrorSums Quantize(const Codec& codec, const MethodOptions& options,
                     const TensorStats& stats, const float* x, int64_t rows,
                     int64_t cols, CodeTile& out,
                     MethodScratch& scratch) const override {
    if (options.preparation == nullptr) {
      return RtnMethod().Quantize(codec, options, stats, x, rows, cols, out,
                                  scratch);
    }
    out.rows = rows;
    out.cols = cols;
    return AwqTile(codec, options,
                   static_cast<const AwqInputs&>(*options.preparation), x, 1,
                   out, scratch)
        .Run();
  }
};

}  // namespace

const QuantMethod& AwqMethod() {
  static const Awq method;
  return method;
}

}  // namespace quant

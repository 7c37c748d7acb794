// Half-quadratic quantization: scales and zero points fitted to the weights,
// without calibration data.
//
// The paper minimizes |x - s (q - z)|_p^p, p < 1, over z by splitting: an
// auxiliary w takes up outliers and the rest is least squares. Alternately,
// until nothing changes,
//
//   q <- codes for (s, z)
//   w <- shrink(x / s - (q - z))       core/kernels/hqq_step.h
//   z <- mean(q - (x / s - w))
//   beta <- kappa beta                 the penalty that ties w to the error
//
// Source: Badri and Shaji, "Half-Quadratic Quantization of Large Machine
// Learning Models", 2023.
//
// What differs here:
//  * Stored zero points are integers, so z is rounded (and stays 0 for
//    symmetric schemes), and the scale, which the paper keeps, is fitted too:
//    s <- s sum(u d) / sum(d d), u = x / s - w, d = q - z: least squares with
//    outliers left out. It is rounded to its stored type at every step.
//  * Integers make the problem one of many local minima: the steps are made
//    from several ranges [r lo, r hi].
//  * Which (s, z) is kept is judged by the squared error, not by the p-norm.
//    That norm serves many small weights so well that it gives up the large
//    ones: by it, int4 was worse than round to nearest in perplexity (measured
//    on both real models). As minmax is among the candidates, the squared
//    error of a group is never greater than with it, whatever the scale rule.
//  * w is measured in steps, so that beta need not know the weights' size.
//
// Legend: O out features, I in features, R rows of a tile.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/kernels/convert.h"
#include "core/kernels/hqq_step.h"
#include "core/method/method.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

// Ranges to begin with. A fast search uses the first only, and so do 4 bits and
// more: there, other starts lowered the squared error of a real model by 4 % to
// 10 %, but not its perplexity.
constexpr float kStarts[] = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f, 0.5f};
constexpr int kBitsOfOneStart = 4;
constexpr int kSteps = 20;
// A start is given up after so many steps in a row without gain.
constexpr int kPatience = 3;
// 1 / beta of the first step: a miss beyond about one step is an outlier,
// rounding (half a step) is not.
constexpr float kFirstInverseBeta = 1.0f;
constexpr float kInverseKappa = 1.0f / 1.05f;

// A group of one row.
struct Group {
  const float* x;
  int64_t n;
};

struct Best {
  ScaleZero value;
  double noise = 0;
};

HqqSums Measure(const Codec& codec, const Group& group, ScaleZero at,
                float inverse_beta) {
  const int half = 1 << (codec.scheme().bits - 1);
  return HqqStep({.n = group.n,
                  .scale = at.scale,
                  .zero = at.zero,
                  .q_min = -half,
                  .q_max = half - 1,
                  .inverse_beta = inverse_beta},
                 group.x);
}

// The next scale and zero point; those of `at` where there is no better.
ScaleZero Next(const Codec& codec, DType scale_type, ScaleZero at, int64_t n,
               const HqqSums& sums) {
  const int half = 1 << (codec.scheme().bits - 1);
  const double count = static_cast<double>(n);
  double shift = 0;  // of the zero point
  if (codec.has_zeros()) {
    const double lowest = codec.scheme().zero_above_lowest ? 1 - half : -half;
    const double zero =
        std::clamp(std::nearbyint(at.zero + (sums.d - sums.u) / count), lowest,
                   half - 1.0);
    shift = zero - at.zero;
  }
  // The sums for d - shift.
  const double ud = sums.ud - shift * sums.u;
  const double dd = sums.dd - shift * (2 * sums.d - count * shift);
  ScaleZero next = at;
  next.zero = static_cast<int8_t>(at.zero + static_cast<int>(shift));
  if (!(ud > 0) || !(dd > 0)) return next;
  const float scale =
      RoundToType(scale_type, static_cast<float>(at.scale * (ud / dd)));
  if (std::isnormal(scale)) next.scale = scale;
  return next;
}

void Descend(const Codec& codec, DType scale_type, const Group& group,
             ScaleZero at, Best& best) {
  float inverse_beta = kFirstInverseBeta;
  double least = 0;
  for (int step = 0, idle = 0; step < kSteps && idle < kPatience; ++step) {
    const HqqSums sums = Measure(codec, group, at, inverse_beta);
    if (sums.noise < best.noise) best = {.value = at, .noise = sums.noise};
    const bool gained = step == 0 || sums.noise < least;
    idle = gained ? 0 : idle + 1;
    if (gained) least = sums.noise;
    const ScaleZero next = Next(codec, scale_type, at, group.n, sums);
    if (next.scale == at.scale && next.zero == at.zero) return;
    at = next;
    inverse_beta *= kInverseKappa;
  }
}

ScaleZero Fit(const Codec& codec, const MethodOptions& options,
              const Group& group, float lo, float hi) {
  Best best{.value = codec.FromRange(lo, hi, options.scale_type)};
  if (lo == 0 && hi == 0) return best.value;
  best.noise = Measure(codec, group, best.value, kFirstInverseBeta).noise;
  const bool one = options.search == SearchLevel::kFast ||
                   codec.scheme().bits >= kBitsOfOneStart;
  for (float start : kStarts) {
    Descend(codec, options.scale_type, group,
            codec.FromRange(lo * start, hi * start, options.scale_type), best);
    if (one) break;
  }
  return best.value;
}

class Hqq final : public QuantMethod {
 public:
  Statistics Needs() const override { return Statistics::kNone; }

  absl::Status Check(const Scheme& scheme) const override {
    return CheckGroupedIntegers("hqq", "it fits scales of integers", scheme);
  }

  ErrorSums Quantize(const Codec& codec, const MethodOptions& options,
                     const TensorStats& stats, const float* x, int64_t rows,
                     int64_t cols, CodeTile& out,
                     MethodScratch& scratch) const override {
    const int64_t groups = codec.grid_cols(cols);
    const int64_t row_bytes = codec.row_bytes(cols);
    out.rows = rows;
    out.cols = cols;
    out.codes.resize(rows * row_bytes);
    out.scales.resize(rows * groups);
    out.zeros.resize(codec.has_zeros() ? out.scales.size() : 0);
    scratch.lo.resize(groups);
    scratch.hi.resize(groups);
    LaneSums lanes;
    for (int64_t r = 0; r < rows; ++r) {
      FitRow(codec, options, x + r * cols, cols, r * groups, out, scratch);
      codec.EncodeRow(x + r * cols, cols,
                      codec.ScalesOfRow(out, r, options.narrow),
                      out.codes.data() + r * row_bytes, lanes);
    }
    ErrorSums sums;
    sums.noise = CombineLanes(lanes.noise);
    sums.signal = CombineLanes(lanes.signal);
    sums.max_abs_error = lanes.max_abs_error;
    return sums;
  }

 private:
  // Scales and zero points of one row, from index `first` of the grid on.
  static void FitRow(const Codec& codec, const MethodOptions& options,
                     const float* x, int64_t cols, int64_t first, CodeTile& out,
                     MethodScratch& scratch) {
    const int64_t size = codec.group(cols);
    GroupRanges(x, cols, size, scratch.lo.data(), scratch.hi.data());
    for (int64_t g = 0; g < codec.grid_cols(cols); ++g) {
      const Group group{.x = x + g * size,
                        .n = std::min(size, cols - g * size)};
      const ScaleZero fitted =
          Fit(codec, options, group, scratch.lo[g], scratch.hi[g]);
      out.scales[first + g] = fitted.scale;
      if (!out.zeros.empty()) out.zeros[first + g] = fitted.zero;
    }
  }
};

}  // namespace

const QuantMethod& HqqMethod() {
  static const Hqq method;
  return method;
}

}  // namespace quant

// GPTQ against the paper's own way, in double: the Cholesky factor of the
// inverse Hessian, one column at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "core/method/method.h"
#include "tests/core/method/problem.h"
#include "tests/core/tolerances.h"

namespace quant {
namespace {

using Matrix = std::vector<double>;

// Upper U with A^-1 = U^T U.
Matrix CholeskyOfInverse(Matrix a, int64_t n) {
  Matrix inverse(n * n);
  for (int64_t i = 0; i < n; ++i) inverse[i * n + i] = 1;
  for (int64_t i = 0; i < n; ++i) {  // Gauss and Jordan
    const double pivot = a[i * n + i];
    for (int64_t j = 0; j < n; ++j) {
      a[i * n + j] /= pivot;
      inverse[i * n + j] /= pivot;
    }
    for (int64_t r = 0; r < n; ++r) {
      const double factor = r == i ? 0 : a[r * n + i];
      if (factor == 0) continue;
      for (int64_t j = 0; j < n; ++j) {
        a[r * n + j] -= factor * a[i * n + j];
        inverse[r * n + j] -= factor * inverse[i * n + j];
      }
    }
  }
  Matrix u(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      double sum = inverse[i * n + j];
      for (int64_t k = 0; k < i; ++k) sum -= u[k * n + i] * u[k * n + j];
      u[i * n + j] = i == j ? std::sqrt(sum) : sum / u[i * n + i];
    }
  }
  return u;
}

struct Grid {
  double scale = 1, zero = 0, least = 0, most = 0;
  double Back(double x) const {
    const double q = std::clamp(std::nearbyint(x / scale) + zero, least, most);
    return (q - zero) * scale;
  }
};

Grid GridOf(const Scheme& scheme, const double* x, int64_t count) {
  const int half = 1 << (scheme.bits - 1);
  double lo = 0, hi = 0;
  for (int64_t i = 0; i < count; ++i) {
    lo = std::min(lo, x[i]);
    hi = std::max(hi, x[i]);
  }
  const double steps = 2.0 * half - 1;
  Grid grid{.least = -half * 1.0, .most = half - 1.0};
  grid.scale = (scheme.symmetric ? 2 * std::max(-lo, hi) : hi - lo) / steps;
  if (!scheme.symmetric) grid.zero = std::nearbyint(-half - lo / grid.scale);
  return grid;
}

// What the paper's algorithm gives, in the order of its columns.
struct Paper {
  std::vector<int64_t> order;
  Matrix back;   // [O, I]
  Matrix steps;  // what was rounded, in steps of its scale
  Matrix scale;
};

// Algorithm 1 of the paper, with blocks of 128 and groups as its code has them.
Paper PaperGptq(const Problem& p, const Scheme& scheme,
                const CalibratedOptions& options) {
  const int64_t n = p.n, group = scheme.group_size;
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  if (options.act_order) {
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return p.h[a * n + a] > p.h[b * n + b];
    });
  }
  Matrix h(n * n);
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += p.h[i * n + i] / n;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) h[i * n + j] = p.h[order[i] * n + order[j]];
    h[i * n + i] += options.damping * mean;
  }
  const Matrix u = CholeskyOfInverse(h, n);
  Paper paper{.order = order,
              .back = Matrix(p.rows * n),
              .steps = Matrix(p.rows * n),
              .scale = Matrix(p.rows * n)};
  for (int64_t r = 0; r < p.rows; ++r) {
    std::vector<double> whole(p.w.begin() + r * n, p.w.begin() + (r + 1) * n);
    std::vector<double> w(n);
    for (int64_t i = 0; i < n; ++i) w[i] = whole[order[i]];
    std::vector<double> stale;
    Grid grid;
    for (int64_t i = 0; i < n; ++i) {
      if (i % 128 == 0) stale = w;
      if (options.static_groups) {
        const int64_t first = order[i] / group * group;
        grid = GridOf(scheme, whole.data() + first, std::min(group, n - first));
      } else if (i % group == 0) {
        grid = GridOf(scheme, stale.data() + i, std::min(group, n - i));
      }
      const double value = grid.Back(w[i]);
      paper.back[r * n + i] = value;
      paper.steps[r * n + i] = w[i] / grid.scale;
      paper.scale[r * n + i] = grid.scale;
      const double e = (w[i] - value) / u[i * n + i];
      for (int64_t j = i + 1; j < n; ++j) w[j] -= e * u[i * n + j];
    }
  }
  return paper;
}

Scheme Int(int bits, bool symmetric, int64_t group) {
  Scheme scheme = *FindScheme("W4A16");
  scheme.bits = bits;
  scheme.symmetric = symmetric;
  scheme.group_size = group;
  return scheme;
}

struct Outcome {
  CodeTile tile;
  std::vector<float> back;
};

Outcome Quantize(const Problem& p, const Scheme& scheme,
                 const CalibratedOptions& options,
                 const Preparation* preparation) {
  const auto codec = *MakeCodec(scheme);
  MethodOptions method_options;
  method_options.calibrated = options;
  method_options.preparation = preparation;
  MethodScratch scratch;
  Outcome outcome;
  (*FindMethod("gptq"))
      ->Quantize(*codec, method_options, {}, p.w.data(), p.rows, p.n,
                 outcome.tile, scratch);
  outcome.back.resize(p.rows * p.n);
  for (int64_t r = 0; r < p.rows; ++r) {
    codec->DecodeTileRow(outcome.tile, r, outcome.back.data() + r * p.n);
  }
  return outcome;
}

std::unique_ptr<Preparation> Prepare(const Problem& p,
                                     const CalibratedOptions& options) {
  ThreadPool pool(2);
  return (*FindMethod("gptq"))
      ->Prepare(pool, options, {.n = p.n, .values = p.h.data()});
}

// Codes are the paper's up to a weight of the row that lies on a tie, as near
// as float32 can tell; there the ways part. Answers how many rows never part.
int64_t RowsAlike(const Problem& p, const Paper& paper,
                  const std::vector<float>& back) {
  int64_t alike = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    int64_t i = 0;
    for (; i < p.n; ++i) {
      const int64_t at = r * p.n + i;
      const double ours = back[r * p.n + paper.order[i]];
      if (std::fabs(ours - paper.back[at]) < paper.scale[at] / 2) continue;
      const double beyond = paper.steps[at] - std::floor(paper.steps[at]);
      EXPECT_NEAR(beyond, 0.5, kGptqTie) << "row " << r << ", column " << i;
      break;
    }
    alike += i == p.n;
  }
  return alike;
}

TEST(Gptq, IsThePapers) {
  const Problem p(24, 300, 1);  // blocks of 128, 128 and 44; a short group
  int64_t alike = 0, cases = 0;
  for (int bits : {2, 3, 4, 8}) {
    for (bool symmetric : {true, false}) {
      for (int order = 0; order < 3; ++order, ++cases) {
        const CalibratedOptions options{.act_order = order > 0,
                                        .static_groups = order > 1,
                                        .damping = 0.01};
        SCOPED_TRACE(std::to_string(bits) + " bits, order " +
                     std::to_string(order) + (symmetric ? "" : ", asymmetric"));
        const Scheme scheme = Int(bits, symmetric, 64);
        const auto preparation = Prepare(p, options);
        ASSERT_TRUE(preparation->usable);
        const auto back = Quantize(p, scheme, options, preparation.get()).back;
        alike += RowsAlike(p, PaperGptq(p, scheme, options), back);
        const double nearest =
            p.Error(Quantize(p, scheme, options, nullptr).back);
        EXPECT_LT(p.Error(back), 0.8 * nearest);
      }
    }
  }
  EXPECT_GT(alike, cases * p.rows / 2);
}

TEST(Gptq, NamesTheGroupsOfColumnsOnlyWhereTheyAreNotNeighbours) {
  const Problem p(3, 96, 2);
  CalibratedOptions options;
  EXPECT_TRUE(Quantize(p, Int(4, true, 32), options, Prepare(p, options).get())
                  .tile.column_groups.empty());
  options.act_order = true;
  const auto groups =
      Quantize(p, Int(4, true, 32), options, Prepare(p, options).get())
          .tile.column_groups;
  ASSERT_EQ(groups.size(), 96u);
  for (int g = 0; g < 3; ++g) {
    EXPECT_EQ(std::count(groups.begin(), groups.end(), g), 32);
  }
  // The largest inputs come first.
  EXPECT_EQ(groups[3], 0);
  EXPECT_EQ(groups[20], 0);
  options.static_groups = true;
  EXPECT_TRUE(Quantize(p, Int(4, true, 32), options, Prepare(p, options).get())
                  .tile.column_groups.empty());
}

TEST(Gptq, MseScalesAreUsed) {
  const Problem p(8, 128, 3);
  const CalibratedOptions options;
  const auto preparation = Prepare(p, options);
  const auto codec = *MakeCodec(Int(3, true, 128));
  MethodScratch scratch;
  double scale[2];
  for (ScaleRule rule : {ScaleRule::kMinmax, ScaleRule::kMse}) {
    MethodOptions method_options;
    method_options.scale = rule;
    method_options.preparation = preparation.get();
    CodeTile tile;
    (*FindMethod("gptq"))
        ->Quantize(*codec, method_options, {}, p.w.data(), p.rows, p.n, tile,
                   scratch);
    scale[rule == ScaleRule::kMse] = tile.scales[0];
  }
  EXPECT_LT(scale[1], scale[0]);  // normal weights: clipping pays
}

TEST(Gptq, RoundsColumnsWithoutInputToNearest) {
  Problem p(5, 64, 4);
  for (int64_t dead : {0, 7, 63}) {
    for (int64_t i = 0; i < 64; ++i) {
      p.h[dead * 64 + i] = p.h[i * 64 + dead] = 0;
    }
  }
  const CalibratedOptions options;
  const auto preparation = Prepare(p, options);
  EXPECT_TRUE(preparation->usable);
  EXPECT_EQ(preparation->dead_columns, 3);
  const Scheme scheme = Int(4, true, 64);
  const Outcome outcome = Quantize(p, scheme, options, preparation.get());
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t dead : {0, 7, 63}) {
      EXPECT_LE(std::fabs(outcome.back[r * 64 + dead] - p.w[r * 64 + dead]),
                0.5001f * outcome.tile.scales[r]);
    }
  }
}

TEST(Gptq, DampsMoreWhereItMust) {
  Problem p(4, 200, 5);
  // Rank one, and a little less than that.
  for (int64_t i = 0; i < 200; ++i) {
    for (int64_t j = 0; j < 200; ++j) p.h[i * 200 + j] = i == j ? 0.997f : 1.0f;
  }
  CalibratedOptions options{.damping = 1e-3};
  const auto preparation = Prepare(p, options);
  EXPECT_TRUE(preparation->usable);
  EXPECT_NEAR(preparation->damping, 1e-2, 1e-9);
  for (float x :
       Quantize(p, Int(4, true, 64), options, preparation.get()).back) {
    EXPECT_TRUE(std::isfinite(x));
  }
}

TEST(Gptq, RoundsToNearestWithoutAUsableHessian) {
  Problem p(4, 64, 6);
  const Scheme scheme = Int(4, false, 32);
  const Outcome nearest = Quantize(p, scheme, {}, nullptr);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (float bad : {0.0f, nan, inf}) {
    std::fill(p.h.begin(), p.h.end(), bad);
    const auto preparation = Prepare(p, {});
    EXPECT_FALSE(preparation->usable) << bad;
    const Outcome outcome = Quantize(p, scheme, {}, preparation.get());
    EXPECT_EQ(outcome.tile.codes, nearest.tile.codes);
    EXPECT_EQ(outcome.tile.scales, nearest.tile.scales);
    EXPECT_EQ(outcome.tile.zeros, nearest.tile.zeros);
  }
}

}  // namespace
}  // namespace quant

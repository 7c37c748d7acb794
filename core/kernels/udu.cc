#include "core/kernels/udu.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "core/base/checked_math.h"
#include "core/kernels/gemm.h"

namespace quant {
namespace {

constexpr int64_t kBlock = 128;
// Columns that are taken out of what is left at a time: blocks first work on
// their own, so that the large matrix is gone through less often.
constexpr int64_t kPanel = 512;
// Of the part that is left: large enough for the speed of a product, small
// enough for many threads.
constexpr int64_t kTile = 256;

// A diagonal block, in double.
struct UduBlock {
  int64_t n = 0;
  std::vector<double> s = std::vector<double>(kBlock * kBlock);  // S, then
  std::vector<float> inverse = std::vector<float>(kBlock * kBlock);
  std::vector<double> d = std::vector<double>(kBlock);
};

// h: the block's upper triangle.
void Load(const float* h, int64_t stride, int64_t n, UduBlock& out) {
  out.n = n;
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = r; c < n; ++c) out.s[r * kBlock + c] = h[r * stride + c];
  }
}

bool FactorBlock(UduBlock& block) {
  std::vector<double> column(kBlock);
  double* s = block.s.data();
  for (int64_t j = block.n - 1; j >= 0; --j) {
    const double d = s[j * kBlock + j];
    if (!(d > 0) || !std::isfinite(d)) return false;
    block.d[j] = d;
    for (int64_t r = 0; r < j; ++r) {
      column[r] = s[r * kBlock + j];
      s[r * kBlock + j] = column[r] / d;
    }
    for (int64_t r = 0; r < j; ++r) {
      const double factor = s[r * kBlock + j];
      for (int64_t c = r; c < j; ++c) s[r * kBlock + c] -= factor * column[c];
    }
  }
  return true;
}

void Store(const UduBlock& block, float* h, int64_t stride) {
  for (int64_t r = 0; r < block.n; ++r) {
    h[r * stride + r] = static_cast<float>(block.d[r]);
    for (int64_t c = r + 1; c < block.n; ++c) {
      h[r * stride + c] = static_cast<float>(block.s[r * kBlock + c]);
    }
  }
}

// (I + S)^-1 = I - S + ..., row by row from the last.
void Invert(UduBlock& block) {
  std::vector<double> inverse(kBlock * kBlock);
  const int64_t n = block.n;
  for (int64_t r = n - 1; r >= 0; --r) {
    double* row = inverse.data() + r * kBlock;
    row[r] = 1;
    for (int64_t k = r + 1; k < n; ++k) {
      const double factor = block.s[r * kBlock + k];
      const double* other = inverse.data() + k * kBlock;
      for (int64_t c = k; c < n; ++c) row[c] -= factor * other[c];
    }
  }
  std::copy(inverse.begin(), inverse.end(), block.inverse.begin());
}

// The columns [first, first + width), which are factored before all to the
// left of them.
class UduPanel {
 public:
  UduPanel(ThreadPool& pool, int64_t n, int64_t first, float* h)
      : pool_(pool),
        n_(n),
        first_(first),
        width_(std::min(kPanel, n - first)),
        h_(h),
        y_((first + width_) * kPanel) {}

  bool Factor() {
    for (int64_t at = (CeilDiv(width_, kBlock) - 1) * kBlock; at >= 0;
         at -= kBlock) {
      float* corner = h_ + (first_ + at) * (n_ + 1);
      Load(corner, n_, std::min(kBlock, width_ - at), block_);
      if (!FactorBlock(block_)) return false;
      Store(block_, corner, n_);
      if (first_ + at == 0) break;
      Invert(block_);
      SolveAbove(at);
      // The blocks of this panel that are left.
      Subtract(first_, first_ + at, at, block_.n);
    }
    return true;
  }

  // Takes the panel out of what is left of it.
  void Update() { Subtract(0, first_, 0, width_); }

 private:
  // The part of S above a diagonal block, from column `at` of the panel on; its
  // product with D goes to y_.
  void SolveAbove(int64_t at) {
    const int64_t rows = first_ + at;
    ForEach(CeilDiv(rows, kTile), [&](int64_t t) {
      const int64_t row = t * kTile;
      const int64_t count = std::min(kTile, rows - row);
      float* column = h_ + row * n_ + first_ + at;
      Gemm({.m = count,
            .n = block_.n,
            .k = block_.n,
            .x = column,
            .x_stride = n_,
            .w = block_.inverse.data(),
            .w_stride = kBlock,
            .y = y_.data() + row * kPanel + at,
            .y_stride = kPanel});
      for (int64_t r = 0; r < count; ++r) {
        const float* y = y_.data() + (row + r) * kPanel + at;
        for (int64_t c = 0; c < block_.n; ++c) {
          column[r * n_ + c] = static_cast<float>(y[c] / block_.d[c]);
        }
      }
    });
  }

  // Columns [begin, end) of H, of the rows up to them, less the products of
  // `count` columns of the panel from `at` on. Tiles that lie below the
  // diagonal are left out.
  void Subtract(int64_t begin, int64_t end, int64_t at, int64_t count) {
    const int64_t down = CeilDiv(end, kTile);
    const int64_t across = CeilDiv(end - begin, kTile);
    ForEach(down * across, [&](int64_t t) {
      const int64_t row = t / across * kTile;
      const int64_t col = begin + t % across * kTile;
      const int64_t cols = std::min(kTile, end - col);
      if (row >= col + cols) return;
      Gemm({.m = std::min(kTile, end - row),
            .n = cols,
            .k = count,
            .x = y_.data() + row * kPanel + at,
            .x_stride = kPanel,
            .w = h_ + col * n_ + first_ + at,
            .w_stride = n_,
            .y = h_ + row * n_ + col,
            .y_stride = n_,
            .alpha = -1,
            .beta = 1});
    });
  }

  template <class Body>
  void ForEach(int64_t count, const Body& body) {
    std::atomic<int64_t> next = 0;
    pool_.RunOnAll([&](int) {
      for (int64_t i = next++; i < count; i = next++) body(i);
    });
  }

  ThreadPool& pool_;
  const int64_t n_;
  const int64_t first_;
  const int64_t width_;
  float* const h_;
  std::vector<float> y_;  // [rows above a block, kPanel]
  UduBlock block_;
};

}  // namespace

bool FactorUdu(ThreadPool& pool, int64_t n, float* h) {
  for (int64_t first = (CeilDiv(n, kPanel) - 1) * kPanel; first >= 0;
       first -= kPanel) {
    UduPanel panel(pool, n, first, h);
    if (!panel.Factor()) return false;
    panel.Update();
  }
  return true;
}

}  // namespace quant

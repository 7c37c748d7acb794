// What calibrated quantization costs, beside what products of matrices reach in
// the same run:
//
//   bench_gptq [THREADS] [ROWS COLUMNS]...
//
// Hessians are counted as the symmetric half of a product (tokens I^2), factors
// as I^3 / 3, corrections as O I^2.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "core/base/thread_pool.h"
#include "core/calibrate/statistics.h"
#include "core/codec/codec.h"
#include "core/method/method.h"
#include "tests/bench/measure.h"

namespace quant {
namespace {

constexpr int64_t kTokens = 2048, kTileRows = 128;

void Print(const char* what, double seconds, double flops, double peak) {
  std::printf("  %-12s %8.3f s  %7.1f GFLOP/s  %3.0f %% of products\n", what,
              seconds, flops / seconds / 1e9, 100 * flops / seconds / peak);
}

void QuantizeAll(ThreadPool& pool, const QuantMethod& method,
                 const Codec& codec, const MethodOptions& options,
                 const std::vector<float>& w, int64_t rows, int64_t cols) {
  std::atomic<int64_t> next = 0;
  pool.RunOnAll([&](int) {
    MethodScratch scratch;
    CodeTile tile;
    for (int64_t row = kTileRows * next++; row < rows;
         row = kTileRows * next++) {
      method.Quantize(codec, options, {}, w.data() + row * cols,
                      std::min(kTileRows, rows - row), cols, tile, scratch);
    }
  });
}

void Measure(ThreadPool& pool, int64_t rows, int64_t cols, double peak) {
  std::printf("weight %lld x %lld, int4 asymmetric, groups of 128\n",
              static_cast<long long>(rows), static_cast<long long>(cols));
  const double n = static_cast<double>(cols);
  const std::vector<float> x = Normal(kTokens * cols, 1);
  InputStatistics statistics(cols, true);
  Print("hessian", Least([&] { statistics.Add(pool, x.data(), kTokens); }),
        kTokens * n * n, peak);
  const QuantMethod& method = **FindMethod("gptq");
  const auto codec = *MakeCodec(*FindScheme("W4A16_ASYM"));
  const std::vector<float> w = Normal(rows * cols, 0.02f);
  for (bool act_order : {false, true}) {
    MethodOptions options;
    options.calibrated.act_order = act_order;
    std::unique_ptr<Preparation> preparation;
    const double factor = Least([&] {
      preparation.reset();
      preparation =
          method.Prepare(pool, options.calibrated,
                         {.n = cols, .values = statistics.hessian().data()});
    });
    options.preparation = preparation.get();
    const double codes = Least(
        [&] { QuantizeAll(pool, method, *codec, options, w, rows, cols); });
    std::printf(" act order %s: solve %.3f s\n", act_order ? "on" : "off",
                factor + codes);
    Print("factor", factor, n * n * n / 3, peak);
    Print("codes", codes, static_cast<double>(rows) * n * n, peak);
  }
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
  quant::ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 2);
  const double peak = quant::PeakFlops(pool);
  std::printf("products of matrices: %.1f GFLOP/s, %d threads\n", peak / 1e9,
              pool.threads());
  std::vector<std::pair<int64_t, int64_t>> shapes;
  for (int i = 2; i + 1 < argc; i += 2) {
    shapes.emplace_back(std::atoll(argv[i]), std::atoll(argv[i + 1]));
  }
  if (shapes.empty()) shapes = {{4096, 4096}, {4096, 11008}};
  for (const auto& [rows, cols] : shapes) {
    quant::Measure(pool, rows, cols, peak);
  }
  return 0;
}

#include "core/kernels/gemm.h"

#include <algorithm>
#include <atomic>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "oneapi/dnnl/dnnl.h"

// Of the OpenMP runtime that oneDNN links; its header belongs to compilers.
extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
}

namespace quant {
namespace {

// Tiles large enough to amortize packing, small enough to feed many threads.
constexpr int64_t kTileRows = 192;
constexpr int64_t kTileCols = 384;

}  // namespace

void Gemm(const GemmArgs& args) {
  if (args.m == 0 || args.n == 0) return;
  // The library divides work over as many threads as OpenMP gives the calling
  // thread; the setting belongs to that thread alone.
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  dnnl_sgemm(args.x_is_km ? 'T' : 'N', args.w_is_kn ? 'N' : 'T', args.m, args.n,
             args.k, args.alpha, args.x, args.x_stride, args.w, args.w_stride,
             args.beta, args.y, args.y_stride);
}

std::string GemmIsa() {
  const dnnl_version_t* version = dnnl_version();
  return absl::StrCat("onednn ", version->major, ".", version->minor, ".",
                      version->patch, " isa ",
                      static_cast<int>(dnnl_get_effective_cpu_isa()));
}

void ParallelGemm(ThreadPool& pool, const GemmArgs& args) {
  const int64_t tile_cols = CeilDiv(args.n, kTileCols);
  const int64_t tiles = CeilDiv(args.m, kTileRows) * tile_cols;
  std::atomic<int64_t> next = 0;
  pool.RunOnAll([&](int) {
    for (int64_t t = next++; t < tiles; t = next++) {
      const int64_t row = t / tile_cols * kTileRows;
      const int64_t col = t % tile_cols * kTileCols;
      GemmArgs tile = args;
      tile.m = std::min(kTileRows, args.m - row);
      tile.n = std::min(kTileCols, args.n - col);
      tile.x += args.x_is_km ? row : row * args.x_stride;
      tile.w += args.w_is_kn ? col : col * args.w_stride;
      tile.y += row * args.y_stride + col;
      Gemm(tile);
    }
  });
}

}  // namespace quant

// Causal attention with grouped keys, softcaps and sliding windows.
//
//   a = softmax(cap(q k^T scale) + mask) v, cap(s) = c tanh(s / c)
//
// A query sees keys at its own position and before, at most `window` of them.
//
// Legend: T positions, Q queries of a tile, K keys of a tile, D head_dim.
#include <algorithm>
#include <cmath>

#include "core/base/checked_math.h"
#include "core/kernels/activations.h"
#include "core/kernels/gemm.h"
#include "core/network/block.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

// Queries of one piece of work; bounds the scores in memory.
constexpr int64_t kQueries = 64;

// Scores of one query over keys [0, keys) become weights; keys outside
// [first, last] become zero.
void SoftmaxRow(float* scores, int64_t keys, int64_t first, int64_t last,
                float softcap) {
  if (softcap > 0) {
    for (int64_t k = first; k <= last; ++k) {
      scores[k] = softcap * std::tanh(scores[k] / softcap);
    }
  }
  Softmax(scores + first, last - first + 1);
  std::fill(scores, scores + first, 0.0f);
  std::fill(scores + last + 1, scores + keys, 0.0f);
}

struct Tile {
  int64_t sequence;
  int64_t head;
  int64_t first_query;
  int64_t queries;
};

void AttendTile(const BlockRun& run, const Tile& tile, const float* qkv,
                float* out) {
  const NetworkConfig& config = *run.config;
  const int64_t width = config.qkv_width();
  const int64_t d = config.head_dim;
  const int64_t window = run.layer.window;
  const int64_t begin =
      window > 0 ? std::max<int64_t>(0, tile.first_query - window + 1) : 0;
  const int64_t keys = tile.first_query + tile.queries - begin;
  const float* rows = qkv + tile.sequence * run.positions * width;
  const int64_t kv_head = tile.head / (config.heads / config.kv_heads);
  const float* k = rows + begin * width + config.q_width() + kv_head * d;
  std::vector<float> scores(tile.queries * keys);
  Gemm({.m = tile.queries,
        .n = keys,
        .k = d,
        .x = rows + tile.first_query * width + tile.head * d,
        .x_stride = width,
        .w = k,
        .w_stride = width,
        .y = scores.data(),
        .y_stride = keys,
        .alpha = config.attention_scale});
  for (int64_t q = 0; q < tile.queries; ++q) {
    const int64_t last = tile.first_query + q - begin;
    const int64_t first =
        window > 0 ? std::max<int64_t>(0, last - window + 1) : 0;
    SoftmaxRow(scores.data() + q * keys, keys, first, last,
               config.attention_softcap);
  }
  const int64_t row = tile.sequence * run.positions + tile.first_query;
  Gemm({.m = tile.queries,
        .n = d,
        .k = keys,
        .x = scores.data(),
        .x_stride = keys,
        .w = k + config.kv_width(),
        .w_stride = width,
        .w_is_kn = true,
        .y = out + row * config.q_width() + tile.head * d,
        .y_stride = config.q_width()});
}

}  // namespace

void Attend(const BlockRun& run, const float* qkv, float* out) {
  const int64_t tiles = CeilDiv(run.positions, kQueries);
  const int64_t heads = run.config->heads;
  ParallelFor(*run.pool, run.sequences * heads * tiles, [&](int64_t i) {
    Tile tile;
    tile.sequence = i / (heads * tiles);
    tile.head = i / tiles % heads;
    tile.first_query = i % tiles * kQueries;
    tile.queries = std::min(kQueries, run.positions - tile.first_query);
    AttendTile(run, tile, qkv, out);
  });
}

}  // namespace quant

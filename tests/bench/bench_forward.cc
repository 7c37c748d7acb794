// What the forward pass of a 1.1 B-parameter shape costs, beside what products
// of matrices reach in the same run:
//
//   bench_forward [THREADS]
//
// One block at a time, as calibration and evaluation run them: sequences of
// 2048 positions, 1 and 2 of them, through 1 and 2 blocks. Counted are the
// products with weights, 2 R O I each, and attention's two products of queries,
// keys and values, 2 T^2 D per head each, of which the causal half is needed.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "core/base/thread_pool.h"
#include "core/kernels/gemm.h"
#include "core/network/block.h"
#include "core/network/config.h"

namespace quant {
namespace {

constexpr int kRounds = 3;
constexpr int64_t kPositions = 2048;
constexpr char kConfig[] = R"({"architectures": ["LlamaForCausalLM"],
  "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632,
  "num_hidden_layers": 22, "num_attention_heads": 32,
  "num_key_value_heads": 4, "max_position_embeddings": 2048,
  "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
  "tie_word_embeddings": false})";

std::vector<float> Normal(int64_t n, float size) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, size);
  std::vector<float> out(n);
  for (float& x : out) x = normal(random);
  return out;
}

Linear MakeLinear(int64_t out, int64_t in) {
  return {.name = "random",
          .out = out,
          .in = in,
          .weight = Normal(out * in, 0.02f),
          .bias = {},
          .rounding = {}};
}

Block MakeBlock(const NetworkConfig& config) {
  const int64_t h = config.hidden, f = config.intermediate;
  Block block;
  block.attention_norm = block.mlp_norm = std::vector<float>(h, 1);
  block.qkv = {MakeLinear(config.q_width(), h),
               MakeLinear(config.kv_width(), h),
               MakeLinear(config.kv_width(), h)};
  block.o = MakeLinear(h, config.q_width());
  block.mlps.push_back({.gate_up = {MakeLinear(f, h), MakeLinear(f, h)},
                        .down = MakeLinear(h, f)});
  return block;
}

double FlopsOf(const NetworkConfig& config, int64_t sequences) {
  const double rows = static_cast<double>(sequences * kPositions);
  const double weights = static_cast<double>(
      config.hidden *
      (config.qkv_width() + config.q_width() + 3 * config.intermediate));
  const double attention =
      2.0 * kPositions * static_cast<double>(config.q_width());
  return rows * (2 * weights + attention);
}

double Seconds(const NetworkConfig& config, const Block& block,
               ThreadPool& pool, int64_t sequences, int layers) {
  const RopeTable rope = MakeRopeTable(config.rope, kPositions);
  BlockRun run;
  run.pool = &pool;
  run.config = &config;
  run.layer = config.layers[0];
  run.rope = &rope;
  run.positions = kPositions;
  run.sequences = 1;  // a batch of calibration
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<float> hidden = Normal(kPositions * config.hidden, 1);
    const auto begin = std::chrono::steady_clock::now();
    for (int layer = 0; layer < layers; ++layer) {
      for (int64_t s = 0; s < sequences; ++s) {
        RunBlock(block, run, hidden.data());
      }
    }
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - begin;
    least = std::min(least, took.count());
  }
  return least;
}

double PeakFlops(ThreadPool& pool) {
  constexpr int64_t kSide = 4096;
  const std::vector<float> x = Normal(kSide * kSide, 1);
  std::vector<float> y(kSide * kSide);
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    ParallelGemm(pool, {.m = kSide,
                        .n = kSide,
                        .k = kSide,
                        .x = x.data(),
                        .x_stride = kSide,
                        .w = x.data(),
                        .w_stride = kSide,
                        .y = y.data(),
                        .y_stride = kSide});
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - begin;
    least = std::min(least, took.count());
  }
  return 2.0 * kSide * kSide * kSide / least;
}

void Measure(int threads) {
  ThreadPool pool(threads);
  const NetworkConfig config = *ParseNetworkConfig(kConfig);
  const Block block = MakeBlock(config);
  const double peak = PeakFlops(pool);
  std::printf(
      "forward pass of a 1.1 B shape, %lld positions; products of "
      "matrices: %.1f GFLOP/s, %d threads\n",
      static_cast<long long>(kPositions), peak / 1e9, threads);
  for (const auto& [sequences, layers] :
       {std::pair(1, 1), std::pair(2, 1), std::pair(1, 2)}) {
    const double seconds = Seconds(config, block, pool, sequences, layers);
    const double flops = FlopsOf(config, sequences) * layers;
    std::printf(
        "  %d sequences, %d blocks: %.3f s, %.1f GFLOP/s, %.0f %% of "
        "products (aim 70)\n",
        sequences, layers, seconds, flops / seconds / 1e9,
        100 * flops / seconds / peak);
  }
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
  quant::Measure(argc > 1 ? std::atoi(argv[1]) : 2);
  return 0;
}

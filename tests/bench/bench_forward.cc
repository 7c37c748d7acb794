// What the forward pass of a 1.1 B-parameter shape costs, beside what products
// of matrices reach in the same run:
//
//   bench_forward [THREADS]
//
// One block over one batch of 2048 positions, which calibration and evaluation
// repeat for every block and batch. Counted are the products with weights,
// 2 R O I each, and attention's two products of queries, keys and values,
// 2 T^2 D per head each, of which the causal half is needed.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/base/thread_pool.h"
#include "core/network/block.h"
#include "core/network/config.h"
#include "tests/bench/measure.h"

namespace quant {
namespace {

constexpr int64_t kPositions = 2048;
constexpr char kConfig[] = R"({"architectures": ["LlamaForCausalLM"],
  "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632,
  "num_hidden_layers": 22, "num_attention_heads": 32,
  "num_key_value_heads": 4, "max_position_embeddings": 2048,
  "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
  "tie_word_embeddings": false})";

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

double FlopsOf(const NetworkConfig& config) {
  const double weights = static_cast<double>(
      config.hidden *
      (config.qkv_width() + config.q_width() + 3 * config.intermediate));
  const double attention =
      2.0 * kPositions * static_cast<double>(config.q_width());
  return kPositions * (2 * weights + attention);
}

double Seconds(const NetworkConfig& config, ThreadPool& pool) {
  const Block block = MakeBlock(config);
  const RopeTable rope = MakeRopeTable(config.rope, kPositions);
  BlockRun run;
  run.pool = &pool;
  run.config = &config;
  run.layer = config.layers[0];
  run.rope = &rope;
  run.positions = kPositions;
  run.sequences = 1;
  std::vector<float> hidden = Normal(kPositions * config.hidden, 1);
  return Least([&] { RunBlock(block, run, hidden.data()); });
}

void Measure(int threads) {
  ThreadPool pool(threads);
  const NetworkConfig config = *ParseNetworkConfig(kConfig);
  const double peak = PeakFlops(pool);
  const double seconds = Seconds(config, pool), flops = FlopsOf(config);
  std::printf(
      "block of a 1.1 B shape, %lld positions: %.3f s, %.1f GFLOP/s, "
      "%.0f %% of products (%.1f GFLOP/s, %d threads; aim 70)\n",
      static_cast<long long>(kPositions), seconds, flops / seconds / 1e9,
      100 * flops / seconds / peak, peak / 1e9, threads);
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
  quant::Measure(argc > 1 ? std::atoi(argv[1]) : 2);
  return 0;
}

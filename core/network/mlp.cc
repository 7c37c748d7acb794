// Gated MLPs, one or many.
//
//   MLP(x) = down(act(gate(x)) * up(x))
//   experts: the k of E with the greatest softmax(router(x)), weighted with it;
//            renormalized where the family does
//
// Source: Shazeer, "GLU Variants Improve Transformer", 2020; Jiang et al.,
// "Mixtral of Experts", 2024.
//
// Legend: R rows, H hidden width, F intermediate width, E experts.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/kernels/activations.h"
#include "core/network/block.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

float Gelu(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }

float GeluTanh(float x) {
  return 0.5f * x *
         (1.0f + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
}

// act(gate) * up, [n] each.
void Gate(Activation activation, const float* gate, const float* up, int64_t n,
          float* out) {
  if (activation == Activation::kSilu) return SiluTimes(gate, up, n, out);
  const auto gelu = activation == Activation::kGelu ? Gelu : GeluTanh;
  for (int64_t i = 0; i < n; ++i) out[i] = gelu(gate[i]) * up[i];
}

void RunOne(const Mlp& mlp, const BlockRun& run, const float* x, int64_t rows,
            float* out) {
  const int64_t f = mlp.down.in;
  std::vector<float> both(rows * 2 * f);
  int64_t at = 0;
  for (const Linear& linear : mlp.gate_up) {
    if (run.observer) run.observer(linear, x, rows);
    linear.Apply(*run.pool, x, rows, both.data() + at, 2 * f);
    at += linear.out;
  }
  std::vector<float> gated(rows * f);
  ParallelFor(*run.pool, rows, [&](int64_t r) {
    const float* gate = both.data() + r * 2 * f;
    Gate(run.config->activation, gate, gate + f, f, gated.data() + r * f);
  });
  if (run.observer) run.observer(mlp.down, gated.data(), rows);
  mlp.down.Apply(*run.pool, gated.data(), rows, out, mlp.down.out);
}

struct Choice {
  int64_t row;
  float weight;
};

// Logits of one row become probabilities; the best experts get the row.
std::vector<int64_t> PickExperts(const NetworkConfig& config, float* logits) {
  const int64_t n = config.experts;
  Softmax(logits, n);
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return logits[a] > logits[b]; });
  order.resize(config.experts_per_token);
  if (!config.renormalize_experts) return order;
  float kept = 0;
  for (int64_t e : order) kept += logits[e];
  for (int64_t e : order) logits[e] /= kept;
  return order;
}

void RunExperts(const Block& block, const BlockRun& run, const float* x,
                float* out) {
  const NetworkConfig& config = *run.config;
  const int64_t rows = run.sequences * run.positions;
  const int64_t h = config.hidden;
  std::vector<float> logits(rows * config.experts);
  block.router.Apply(*run.pool, x, rows, logits.data(), config.experts);
  std::vector<std::vector<Choice>> chosen(config.experts);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = logits.data() + r * config.experts;
    for (int64_t e : PickExperts(config, row)) {
      chosen[e].push_back({.row = r, .weight = row[e]});
    }
  }
  std::fill(out, out + rows * h, 0.0f);
  std::vector<float> input, output;
  // In the order of the experts, which fixes the order of every sum.
  for (int64_t e = 0; e < config.experts; ++e) {
    const std::vector<Choice>& choices = chosen[e];
    const int64_t n = static_cast<int64_t>(choices.size());
    if (n == 0) continue;
    input.resize(n * h);
    output.resize(n * h);
    for (int64_t i = 0; i < n; ++i) {
      std::copy_n(x + choices[i].row * h, h, input.data() + i * h);
    }
    RunOne(block.mlps[e], run, input.data(), n, output.data());
    ParallelFor(*run.pool, n, [&](int64_t i) {
      float* row = out + choices[i].row * h;
      for (int64_t c = 0; c < h; ++c) {
        row[c] += choices[i].weight * output[i * h + c];
      }
    });
  }
}

}  // namespace

void RunMlp(const Block& block, const BlockRun& run, const float* x,
            float* out) {
  if (run.layer.sparse) return RunExperts(block, run, x, out);
  RunOne(block.mlps[0], run, x, run.sequences * run.positions, out);
}

}  // namespace quant

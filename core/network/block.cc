#include "core/network/block.h"

#include <cmath>

#include "core/network/parallel.h"

namespace quant {
namespace {

// Every row of x [rows, n] to `out`, which may be x.
void NormRows(const BlockRun& run, const float* x, int64_t rows,
              const std::vector<float>& weight, float* out) {
  const int64_t n = static_cast<int64_t>(weight.size());
  ParallelFor(*run.pool, rows, [&](int64_t r) {
    RmsNorm(x + r * n, weight, run.config->norm_epsilon, out + r * n);
  });
}

void AddRows(const BlockRun& run, const float* x, int64_t rows, int64_t n,
             float* sum) {
  ParallelFor(*run.pool, rows, [&](int64_t r) {
    for (int64_t i = r * n; i < (r + 1) * n; ++i) sum[i] += x[i];
  });
}

// Norms of heads, and rotation, of one row of q | k | v.
void PrepareHeads(const Block& block, const BlockRun& run, int64_t position,
                  float* row) {
  const NetworkConfig& config = *run.config;
  for (int64_t head = 0; head < config.heads + config.kv_heads; ++head) {
    float* x = row + head * config.head_dim;
    const auto& norm = head < config.heads ? block.q_norm : block.k_norm;
    if (!norm.empty()) RmsNorm(x, norm, config.norm_epsilon, x);
    run.rope->Rotate(position, x);
  }
}

// x [R, H] -> out [R, H].
void RunAttention(const Block& block, const BlockRun& run, const float* x,
                  float* out) {
  const NetworkConfig& config = *run.config;
  const int64_t rows = run.sequences * run.positions;
  const int64_t width = config.qkv_width();
  std::vector<float> qkv(rows * width);
  int64_t at = 0;
  for (const Linear& linear : block.qkv) {
    if (run.observer) run.observer(linear, x, rows);
    linear.Apply(*run.pool, x, rows, qkv.data() + at, width);
    at += linear.out;
  }
  ParallelFor(*run.pool, rows, [&](int64_t r) {
    PrepareHeads(block, run, r % run.positions, qkv.data() + r * width);
  });
  std::vector<float> attended(rows * config.q_width());
  Attend(run, qkv.data(), attended.data());
  if (run.observer) run.observer(block.o, attended.data(), rows);
  block.o.Apply(*run.pool, attended.data(), rows, out, config.hidden);
}

}  // namespace

void RmsNorm(const float* x, const std::vector<float>& weight, float epsilon,
             float* out) {
  const int64_t n = static_cast<int64_t>(weight.size());
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  const float mean = static_cast<float>(sum / static_cast<double>(n));
  const float scale = 1.0f / std::sqrt(mean + epsilon);
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

void RunBlock(const Block& block, const BlockRun& run, float* hidden) {
  const int64_t rows = run.sequences * run.positions;
  const int64_t h = run.config->hidden;
  std::vector<float> x(rows * h);
  std::vector<float> y(rows * h);
  NormRows(run, hidden, rows, block.attention_norm, x.data());
  RunAttention(block, run, x.data(), y.data());
  if (!block.after_attention_norm.empty()) {
    NormRows(run, y.data(), rows, block.after_attention_norm, y.data());
  }
  AddRows(run, y.data(), rows, h, hidden);
  NormRows(run, hidden, rows, block.mlp_norm, x.data());
  RunMlp(block, run, x.data(), y.data());
  if (!block.after_mlp_norm.empty()) {
    NormRows(run, y.data(), rows, block.after_mlp_norm, y.data());
  }
  AddRows(run, y.data(), rows, h, hidden);
}

}  // namespace quant

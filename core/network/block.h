// One decoder block: its weights, and what it does to hidden states.
//
//   h' = h + N2(Attention(N1(h)))        N: RMS norms; N2 and N4 only where
//   h  = h' + N4(MLP(N3(h')))            norms are sandwiched
//
// Source: the Hugging Face implementations of the families in
// architectures.def.
//
// Legend: S sequences, T positions, R = S T rows, H hidden width, E experts.
#ifndef QUANT_CORE_NETWORK_BLOCK_H_
#define QUANT_CORE_NETWORK_BLOCK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/network/config.h"
#include "core/network/linear.h"
#include "core/network/rope.h"

namespace quant {

struct Mlp {
  // gate and up, or both fused (gate first).
  std::vector<Linear> gate_up;
  Linear down;
};

struct Block {
  std::vector<float> attention_norm;        // [H]
  std::vector<float> after_attention_norm;  // [H], or empty
  std::vector<float> mlp_norm;              // [H]
  std::vector<float> after_mlp_norm;        // [H], or empty
  std::vector<Linear> qkv;                  // q, k, v, or all fused
  std::vector<float> q_norm;                // [head_dim], or empty
  std::vector<float> k_norm;
  Linear o;
  Linear router;          // [E, H]; empty in dense blocks
  std::vector<Mlp> mlps;  // one, or E
};

absl::StatusOr<Block> LoadBlock(const WeightLoader& loader,
                                const NetworkConfig& config, int64_t layer);

// The inputs of every Linear of a block, for calibration: module, x [rows, I].
using LinearObserver =
    std::function<void(const Linear& linear, const float* x, int64_t rows)>;

struct BlockRun {
  ThreadPool* pool = nullptr;
  const NetworkConfig* config = nullptr;
  LayerConfig layer;
  const RopeTable* rope = nullptr;
  int64_t sequences = 0;    // S
  int64_t positions = 0;    // T
  LinearObserver observer;  // may be empty
};

// hidden [R, H], in place.
void RunBlock(const Block& block, const BlockRun& run, float* hidden);

// out = x rsqrt(mean(x^2) + epsilon) weight, for one row of n.
void RmsNorm(const float* x, const std::vector<float>& weight, float epsilon,
             float* out);

// attention.cc: qkv [R, q | k | v], rotated -> out [R, q width].
void Attend(const BlockRun& run, const float* qkv, float* out);

// mlp.cc: x [R, H] -> out [R, H].
void RunMlp(const Block& block, const BlockRun& run, const float* x,
            float* out);

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_BLOCK_H_

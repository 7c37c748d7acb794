// Rotary position embeddings: angles of every position, for every kind of
// scaling that config.json may name.
//
//   angle(t, j) = t f_j,  f_j = theta^(-2 j / D), j < D / 2
//   x_j' = x_j cos - x_{j + D/2} sin,  x_{j + D/2}' = x_{j + D/2} cos + x_j sin
//
// Source: Su et al., "RoFormer", 2021, in the half-split order of Hugging Face
// checkpoints; the scalings are described at their functions in rope.cc.
//
// Legend: D rotated dimensions of a head, T positions.
#ifndef QUANT_CORE_NETWORK_ROPE_H_
#define QUANT_CORE_NETWORK_ROPE_H_

#include <cstdint>
#include <vector>

namespace quant {

enum class RopeKind { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongrope };

struct RopeSettings {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000;
  int64_t dims = 0;  // D, even
  double factor = 1;
  int64_t original_positions = 0;
  // Llama 3.
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  // YaRN.
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;
  // By what cosines and sines are multiplied.
  double attention_factor = 1;
  // LongRoPE, D / 2 each.
  std::vector<double> short_factors;
  std::vector<double> long_factors;
};

struct RopeTable {
  int64_t half = 0;        // D / 2
  std::vector<float> cos;  // [T, D / 2]
  std::vector<float> sin;

  // Rotates one head of position t in place.
  void Rotate(int64_t t, float* head) const;
};

// f_j for sequences of `positions`, D / 2 of them.
std::vector<double> RopeFrequencies(const RopeSettings& config,
                                    int64_t positions);
RopeTable MakeRopeTable(const RopeSettings& config, int64_t positions);

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_ROPE_H_

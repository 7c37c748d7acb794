// What config.json says about a decoder-only network's forward pass, checked.
#ifndef QUANT_CORE_NETWORK_CONFIG_H_
#define QUANT_CORE_NETWORK_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/network/rope.h"

namespace quant {

enum class BiasRule { kNever, kConfig, kAlways };
enum class NormStyle { kPre, kSandwich };
enum class ExpertNames { kNone, kMixtral, kQwen };
enum class WindowRule { kAllLayers, kEvenLayers, kUpperLayers };
enum class Activation { kSilu, kGelu, kGeluTanh };

// One row of architectures.def.
struct NetworkTraits {
  absl::string_view name;
  BiasRule qkv_bias;
  BiasRule o_bias;
  BiasRule mlp_bias;
  bool qk_norm;
  NormStyle norms;
  bool fused;
  ExpertNames experts;
  WindowRule window;
  Activation activation;
};

struct LayerConfig {
  int64_t window = 0;    // keys that a query sees, itself included; 0: all
  bool sliding = false;  // which of the two ropes
  bool sparse = false;   // experts instead of one MLP
};

struct NetworkConfig {
  NetworkTraits traits;
  int64_t vocabulary = 0;
  int64_t hidden = 0;
  int64_t intermediate = 0;  // of dense layers
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  int64_t experts = 0;
  int64_t experts_per_token = 0;
  int64_t expert_intermediate = 0;
  bool renormalize_experts = true;
  bool tied = false;  // the head is the embedding
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  float norm_epsilon = 0;
  float attention_scale = 0;
  float attention_softcap = 0;  // 0: none
  float final_softcap = 0;
  float embedding_scale = 1;
  Activation activation = Activation::kSilu;
  RopeSettings rope;          // of full attention
  RopeSettings sliding_rope;  // of layers with a sliding window
  std::vector<LayerConfig> layers;

  int64_t q_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
  int64_t qkv_width() const { return q_width() + 2 * kv_width(); }
};

// `json` is the text of config.json. INVALID_ARGUMENT UNSUPPORTED for another
// architecture (naming the nearest), activation or rope; DATA_LOSS
// MODEL_MALFORMED for keys that are missing, of a wrong type or out of bounds.
absl::StatusOr<NetworkConfig> ParseNetworkConfig(absl::string_view json);

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_CONFIG_H_

#include "core/network/config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/network/json_fields.h"
#include "core/network/rope_fields.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxWidth = kMaxRowElements;

constexpr NetworkTraits kArchitectures[] = {
#define QUANT_NETWORK(name, qkv_bias, o_bias, mlp_bias, qk_norm, norms, fused, \
                      experts, window, activation)                             \
  {name,                                                                       \
   BiasRule::qkv_bias,                                                         \
   BiasRule::o_bias,                                                           \
   BiasRule::mlp_bias,                                                         \
   qk_norm,                                                                    \
   NormStyle::norms,                                                           \
   fused,                                                                      \
   ExpertNames::experts,                                                       \
   WindowRule::window,                                                         \
   Activation::activation},
#include "core/network/architectures.def"
#undef QUANT_NETWORK
};

absl::StatusOr<NetworkTraits> TraitsOf(JsonFields& fields) {
  const std::vector<std::string> names = fields.Strings("architectures", 16);
  const std::string name = names.empty() ? "" : names[0];
  std::vector<std::string> known;
  for (const NetworkTraits& traits : kArchitectures) {
    if (traits.name == name) return traits;
    known.emplace_back(traits.name);
  }
  return Annotate(UnknownNameError("architecture", name, known), "config.json");
}

absl::StatusOr<Activation> ActivationOf(JsonFields& fields,
                                        Activation fallback) {
  const std::string name =
      fields.String("hidden_activation", fields.String("hidden_act", ""));
  if (name.empty()) return fallback;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  return Annotate(UnknownNameError("activation", name,
                                   {"silu", "gelu", "gelu_pytorch_tanh"}),
                  "config.json");
}

bool HasBias(BiasRule rule, bool configured) {
  return rule == BiasRule::kAlways || (rule == BiasRule::kConfig && configured);
}

void ParseSizes(JsonFields& fields, NetworkConfig& config) {
  config.vocabulary = fields.Int("vocab_size", 1, kMaxWidth);
  config.hidden = fields.Int("hidden_size", 1, kMaxWidth);
  config.heads = fields.Int("num_attention_heads", 1, kMaxHeads);
  config.kv_heads =
      fields.Int("num_key_value_heads", 1, config.heads, config.heads);
  config.head_dim =
      fields.Int("head_dim", 2, 1 << 16,
                 std::max<int64_t>(2, config.hidden / config.heads));
  config.max_positions =
      fields.Int("max_position_embeddings", 1, kMaxPositions, 2048);
  config.tied = fields.Bool("tie_word_embeddings",
                            config.traits.norms == NormStyle::kSandwich);
  config.norm_epsilon =
      static_cast<float>(fields.Number("rms_norm_eps", 0, 1, 1e-6));
  if (config.heads % config.kv_heads != 0) {
    fields.Fail("num_key_value_heads", "does not divide num_attention_heads");
  }
}

// The multiplier of embeddings, as a number of the model's type: Gemma's
// weights were trained with the rounded one.
float EmbeddingScale(JsonFields& fields, int64_t hidden) {
  const float scale = static_cast<float>(std::sqrt(hidden));
  const std::string dtype =
      fields.String("torch_dtype", fields.String("dtype", "float32"));
  if (dtype == "bfloat16") return Bf16ToF32(F32ToBf16(scale));
  if (dtype == "float16") return F16ToF32(F32ToF16(scale));
  return scale;
}

void ParseScales(JsonFields& fields, NetworkConfig& config) {
  double per_head = static_cast<double>(config.head_dim);
  if (config.traits.norms == NormStyle::kSandwich) {
    per_head = fields.Number("query_pre_attn_scalar", 1e-3, 1e6, per_head);
    config.attention_softcap = static_cast<float>(
        fields.Number("attn_logit_softcapping", 1e-3, 1e6, 0));
    config.final_softcap = static_cast<float>(
        fields.Number("final_logit_softcapping", 1e-3, 1e6, 0));
    config.embedding_scale = EmbeddingScale(fields, config.hidden);
  }
  config.attention_scale = static_cast<float>(1 / std::sqrt(per_head));
}

void ParseBiases(JsonFields& fields, NetworkConfig& config) {
  const bool attention = fields.Bool("attention_bias", false);
  config.qkv_bias = HasBias(config.traits.qkv_bias, attention);
  config.o_bias = HasBias(config.traits.o_bias, attention);
  config.mlp_bias =
      HasBias(config.traits.mlp_bias, fields.Bool("mlp_bias", false));
}

void ParseExperts(JsonFields& fields, NetworkConfig& config) {
  const bool sparse = config.traits.experts != ExpertNames::kNone;
  config.intermediate =
      fields.Int("intermediate_size", 1, kMaxWidth,
                 sparse ? std::optional<int64_t>(config.hidden) : std::nullopt);
  config.expert_intermediate = config.intermediate;
  if (!sparse) return;
  const bool qwen = config.traits.experts == ExpertNames::kQwen;
  const char* count =
      qwen && fields.Has("num_experts") ? "num_experts" : "num_local_experts";
  config.experts = fields.Int(count, 1, kMaxExperts);
  config.experts_per_token =
      fields.Int("num_experts_per_tok", 1, config.experts);
  if (!qwen) return;
  config.expert_intermediate =
      fields.Int("moe_intermediate_size", 1, kMaxWidth);
  config.renormalize_experts = fields.Bool("norm_topk_prob", false);
}

// Which layers see a window only.
void ParseWindows(JsonFields& fields, NetworkConfig& config) {
  int64_t window = fields.Int("sliding_window", 1, int64_t{1} << 40, 0);
  const int64_t count = static_cast<int64_t>(config.layers.size());
  const auto types = fields.Strings("layer_types", count);
  const bool upper = config.traits.window == WindowRule::kUpperLayers;
  int64_t first = 0;
  if (upper) {
    if (!fields.Bool("use_sliding_window", false)) window = 0;
    first = fields.Int("max_window_layers", 0, int64_t{1} << 40, count);
  }
  if (!types.empty() && static_cast<int64_t>(types.size()) != count) {
    fields.Fail("layer_types", absl::StrCat("has not ", count, " elements"));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    bool sliding = window > 0 && i >= first;
    if (config.traits.window == WindowRule::kEvenLayers) sliding &= i % 2 == 0;
    if (!types.empty()) {
      sliding = types[i] == "sliding_attention";
      if (!sliding && types[i] != "full_attention") {
        fields.Fail("layer_types",
                    "holds another kind than full_attention and "
                    "sliding_attention");
      }
      if (sliding && window == 0) {
        fields.Fail("layer_types", "asks for a sliding_window without a size");
      }
    }
    config.layers[i].sliding = sliding;
    config.layers[i].window = sliding ? window : 0;
  }
}

void ParseSparseLayers(JsonFields& fields, NetworkConfig& config) {
  if (config.traits.experts == ExpertNames::kNone) return;
  const int64_t count = static_cast<int64_t>(config.layers.size());
  const int64_t step = fields.Int("decoder_sparse_step", 1, count, 1);
  for (int64_t i = 0; i < count; ++i) {
    config.layers[i].sparse = (i + 1) % step == 0;
  }
  for (int64_t i : fields.Ints("mlp_only_layers", count)) {
    if (i < count) config.layers[i].sparse = false;
  }
}

}  // namespace

absl::StatusOr<NetworkConfig> ParseNetworkConfig(absl::string_view json) {
  const Json parsed = Json::parse(json.begin(), json.end(), nullptr,
                                  /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    return ModelMalformed("config.json: is missing, or not a JSON object");
  }
  absl::Status status;
  JsonFields fields(parsed, status);
  NetworkConfig config;
  QUANT_ASSIGN_OR_RETURN(config.traits, TraitsOf(fields));
  QUANT_ASSIGN_OR_RETURN(config.activation,
                         ActivationOf(fields, config.traits.activation));
  ParseSizes(fields, config);
  if (!status.ok()) return status;
  config.layers.resize(fields.Int("num_hidden_layers", 1, kMaxLayers));
  ParseScales(fields, config);
  ParseBiases(fields, config);
  ParseExperts(fields, config);
  ParseWindows(fields, config);
  ParseSparseLayers(fields, config);
  if (!status.ok()) return status;
  QUANT_ASSIGN_OR_RETURN(const RopePair rope, ParseRope(parsed, config.head_dim,
                                                        config.max_positions));
  config.rope = rope.full;
  config.sliding_rope = rope.sliding;
  return config;
}

}  // namespace quant

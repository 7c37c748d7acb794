#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/network/block.h"

namespace quant {
namespace {

class BlockLoader {
 public:
  BlockLoader(const WeightLoader& loader, const NetworkConfig& config,
              int64_t layer)
      : loader_(loader),
        config_(config),
        layer_(config.layers[layer]),
        prefix_(absl::StrCat("model.layers.", layer, ".")) {}

  absl::StatusOr<Block> Load() {
    QUANT_RETURN_IF_ERROR(LoadNorms());
    QUANT_RETURN_IF_ERROR(LoadAttention());
    QUANT_RETURN_IF_ERROR(layer_.sparse ? LoadExperts() : LoadDense());
    return std::move(block_);
  }

 private:
  // Weights that are stored less one are completed here.
  absl::Status Norm(absl::string_view name, int64_t width,
                    std::vector<float>& out) {
    QUANT_ASSIGN_OR_RETURN(
        out, loader_.Load(absl::StrCat(prefix_, name, ".weight"), {width}));
    if (config_.traits.norms == NormStyle::kSandwich) {
      for (float& w : out) w += 1;
    }
    return absl::OkStatus();
  }

  absl::Status LoadNorms() {
    const int64_t h = config_.hidden;
    QUANT_RETURN_IF_ERROR(Norm("input_layernorm", h, block_.attention_norm));
    if (config_.traits.norms == NormStyle::kPre) {
      return Norm("post_attention_layernorm", h, block_.mlp_norm);
    }
    QUANT_RETURN_IF_ERROR(
        Norm("post_attention_layernorm", h, block_.after_attention_norm));
    QUANT_RETURN_IF_ERROR(
        Norm("pre_feedforward_layernorm", h, block_.mlp_norm));
    return Norm("post_feedforward_layernorm", h, block_.after_mlp_norm);
  }

  absl::StatusOr<Linear> Get(absl::string_view name, int64_t out, int64_t in,
                             bool bias) const {
    return loader_.LoadLinear(absl::StrCat(prefix_, name), out, in, bias);
  }

  absl::Status LoadAttention() {
    const int64_t h = config_.hidden;
    const auto add = [&](absl::string_view name, int64_t out) {
      auto linear =
          Get(absl::StrCat("self_attn.", name), out, h, config_.qkv_bias);
      if (linear.ok()) block_.qkv.push_back(*std::move(linear));
      return linear.status();
    };
    if (config_.traits.fused) {
      QUANT_RETURN_IF_ERROR(add("qkv_proj", config_.qkv_width()));
    } else {
      QUANT_RETURN_IF_ERROR(add("q_proj", config_.q_width()));
      QUANT_RETURN_IF_ERROR(add("k_proj", config_.kv_width()));
      QUANT_RETURN_IF_ERROR(add("v_proj", config_.kv_width()));
    }
    QUANT_ASSIGN_OR_RETURN(block_.o, Get("self_attn.o_proj", h,
                                         config_.q_width(), config_.o_bias));
    if (!config_.traits.qk_norm) return absl::OkStatus();
    QUANT_RETURN_IF_ERROR(
        Norm("self_attn.q_norm", config_.head_dim, block_.q_norm));
    return Norm("self_attn.k_norm", config_.head_dim, block_.k_norm);
  }

  struct MlpNames {
    std::string gate;
    std::string up;
    std::string down;
  };

  absl::StatusOr<Mlp> LoadMlp(const MlpNames& names, int64_t width,
                              bool bias) const {
    Mlp mlp;
    for (const std::string& name : {names.gate, names.up}) {
      QUANT_ASSIGN_OR_RETURN(Linear linear,
                             Get(name, width, config_.hidden, bias));
      mlp.gate_up.push_back(std::move(linear));
    }
    QUANT_ASSIGN_OR_RETURN(mlp.down,
                           Get(names.down, config_.hidden, width, bias));
    return mlp;
  }

  absl::Status LoadDense() {
    const int64_t width = config_.intermediate;
    if (!config_.traits.fused) {
      block_.mlps.resize(1);
      QUANT_ASSIGN_OR_RETURN(
          block_.mlps[0],
          LoadMlp({"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}, width,
                  config_.mlp_bias));
      return absl::OkStatus();
    }
    Mlp mlp;
    QUANT_ASSIGN_OR_RETURN(Linear fused, Get("mlp.gate_up_proj", 2 * width,
                                             config_.hidden, config_.mlp_bias));
    mlp.gate_up.push_back(std::move(fused));
    QUANT_ASSIGN_OR_RETURN(mlp.down, Get("mlp.down_proj", config_.hidden, width,
                                         config_.mlp_bias));
    block_.mlps.push_back(std::move(mlp));
    return absl::OkStatus();
  }

  absl::Status LoadExperts() {
    const bool mixtral = config_.traits.experts == ExpertNames::kMixtral;
    const std::string mlp = mixtral ? "block_sparse_moe." : "mlp.";
    QUANT_ASSIGN_OR_RETURN(
        block_.router,
        Get(absl::StrCat(mlp, "gate"), config_.experts, config_.hidden, false));
    for (int64_t e = 0; e < config_.experts; ++e) {
      const std::string expert = absl::StrCat(mlp, "experts.", e, ".");
      const MlpNames names =
          mixtral ? MlpNames{expert + "w1", expert + "w3", expert + "w2"}
                  : MlpNames{expert + "gate_proj", expert + "up_proj",
                             expert + "down_proj"};
      QUANT_ASSIGN_OR_RETURN(
          Mlp loaded, LoadMlp(names, config_.expert_intermediate, false));
      block_.mlps.push_back(std::move(loaded));
    }
    return absl::OkStatus();
  }

  const WeightLoader& loader_;
  const NetworkConfig& config_;
  const LayerConfig& layer_;
  std::string prefix_;
  Block block_;
};

}  // namespace

absl::StatusOr<Block> LoadBlock(const WeightLoader& loader,
                                const NetworkConfig& config, int64_t layer) {
  return BlockLoader(loader, config, layer).Load();
}

}  // namespace quant

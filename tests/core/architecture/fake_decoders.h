// Tiny checkpoints of every decoder family: configs, and the names and shapes
// of their tensors as Hugging Face writes them.
#ifndef QUANT_TESTS_CORE_ARCHITECTURE_FAKE_DECODERS_H_
#define QUANT_TESTS_CORE_ARCHITECTURE_FAKE_DECODERS_H_

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/container/model_reader.h"

namespace quant {

// 2 layers, hidden 16, 4 heads of 4 with 2 for keys, ffn 24, vocabulary 11,
// 3 experts of width 6.
inline nlohmann::json FakeConfig(const std::string& class_name) {
  nlohmann::json config = {{"architectures", {class_name}},
                           {"num_hidden_layers", 2},
                           {"hidden_size", 16},
                           {"intermediate_size", 24},
                           {"num_attention_heads", 4},
                           {"num_key_value_heads", 2},
                           {"vocab_size", 11},
                           {"max_position_embeddings", 128},
                           {"rms_norm_eps", 1e-5},
                           {"tie_word_embeddings", false}};
  if (absl::StrContains(class_name, "Gemma")) {
    config["hidden_activation"] = "gelu_pytorch_tanh";
    config["tie_word_embeddings"] = true;
    config["head_dim"] = 8;
    config["query_pre_attn_scalar"] = 8;
    config["sliding_window"] = 32;
  }
  if (absl::StrContains(class_name, "Qwen3")) config["head_dim"] = 8;
  if (class_name == "MixtralForCausalLM") {
    config["num_local_experts"] = 3;
    config["num_experts_per_tok"] = 2;
    config["intermediate_size"] = 6;
  }
  if (absl::StrContains(class_name, "Moe")) {
    config["num_experts"] = 3;
    config["num_experts_per_tok"] = 2;
    config["moe_intermediate_size"] = 6;
    config["shared_expert_intermediate_size"] = 10;
    config["norm_topk_prob"] = class_name == "Qwen3MoeForCausalLM";
  }
  return config;
}

// Of 11 tokens, byte-level.
inline std::string FakeTokenizerJson() {
  nlohmann::json tokenizer = {
      {"added_tokens",
       {{{"id", 0}, {"content", "<s>"}, {"special", true}},
        {{"id", 1}, {"content", "</s>"}, {"special", true}}}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"model", {{"type", "BPE"}, {"merges", {"a b", "ab c"}}}}};
  const char* tokens[] = {"<s>", "</s>", "a", "b", "c", "ab", "abc", "d"};
  for (int i = 0; i < 8; ++i) tokenizer["model"]["vocab"][tokens[i]] = i;
  return tokenizer.dump();
}

// Collects the tensors of one checkpoint.
class FakeTensorList {
 public:
  FakeTensorList(const nlohmann::json& config, DType dtype)
      : config_(config), dtype_(dtype) {}

  int64_t Size(const char* key) const { return config_.at(key); }
  void SetPrefix(std::string prefix) { prefix_ = std::move(prefix); }
  void Add(absl::string_view name, Shape shape) {
    tensors_.push_back({.name = absl::StrCat(prefix_, name),
                        .dtype = dtype_,
                        .shape = shape,
                        .bytes = *TensorBytes(dtype_, shape)});
  }
  std::vector<TensorEntry> Sorted() {
    std::sort(tensors_.begin(), tensors_.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::move(tensors_);
  }

 private:
  const nlohmann::json& config_;
  DType dtype_;
  std::string prefix_;
  std::vector<TensorEntry> tensors_;
};

inline void AddFakeAttention(const std::string& name, int64_t d,
                             FakeTensorList& list) {
  const int64_t h = list.Size("hidden_size");
  const int64_t q = d * list.Size("num_attention_heads");
  const int64_t k = d * list.Size("num_key_value_heads");
  list.Add("input_layernorm.weight", {h});
  list.Add("post_attention_layernorm.weight", {h});
  if (absl::StartsWith(name, "Gemma2") || absl::StartsWith(name, "Gemma3")) {
    list.Add("pre_feedforward_layernorm.weight", {h});
    list.Add("post_feedforward_layernorm.weight", {h});
  }
  list.Add("self_attn.o_proj.weight", {h, q});
  if (name == "Phi3ForCausalLM") {
    list.Add("self_attn.qkv_proj.weight", {q + 2 * k, h});
    return;
  }
  list.Add("self_attn.q_proj.weight", {q, h});
  list.Add("self_attn.k_proj.weight", {k, h});
  list.Add("self_attn.v_proj.weight", {k, h});
  if (absl::StartsWith(name, "Qwen2")) {
    list.Add("self_attn.q_proj.bias", {q});
    list.Add("self_attn.k_proj.bias", {k});
    list.Add("self_attn.v_proj.bias", {k});
  }
  if (absl::StartsWith(name, "Qwen3") || absl::StartsWith(name, "Gemma3")) {
    list.Add("self_attn.q_norm.weight", {d});
    list.Add("self_attn.k_norm.weight", {d});
  }
}

inline void AddFakeExperts(const std::string& name, bool stacked,
                           FakeTensorList& list) {
  const bool mixtral = name == "MixtralForCausalLM";
  const int64_t h = list.Size("hidden_size");
  const int64_t e = list.Size(mixtral ? "num_local_experts" : "num_experts");
  const int64_t x =
      list.Size(mixtral ? "intermediate_size" : "moe_intermediate_size");
  list.Add(mixtral ? "block_sparse_moe.gate.weight" : "mlp.gate.weight",
           {e, h});
  if (stacked) {
    list.Add("mlp.experts.gate_up_proj", {e, 2 * x, h});
    list.Add("mlp.experts.down_proj", {e, h, x});
  }
  for (int64_t j = 0; j < (stacked ? 0 : e); ++j) {
    const std::string expert =
        absl::StrCat(mixtral ? "block_sparse_moe" : "mlp", ".experts.", j);
    list.Add(expert + (mixtral ? ".w1.weight" : ".gate_proj.weight"), {x, h});
    list.Add(expert + (mixtral ? ".w3.weight" : ".up_proj.weight"), {x, h});
    list.Add(expert + (mixtral ? ".w2.weight" : ".down_proj.weight"), {h, x});
  }
  if (name == "Qwen2MoeForCausalLM") {
    const int64_t s = list.Size("shared_expert_intermediate_size");
    list.Add("mlp.shared_expert_gate.weight", {1, h});
    list.Add("mlp.shared_expert.gate_proj.weight", {s, h});
    list.Add("mlp.shared_expert.up_proj.weight", {s, h});
    list.Add("mlp.shared_expert.down_proj.weight", {h, s});
  }
}

// As a checkpoint would be listed: sorted by name.
inline std::vector<TensorEntry> FakeTensors(const nlohmann::json& config,
                                            bool stacked_experts = false,
                                            DType dtype = DType::kBF16) {
  const std::string name = config["architectures"][0];
  FakeTensorList list(config, dtype);
  const int64_t h = list.Size("hidden_size");
  const int64_t f = list.Size("intermediate_size");
  const int64_t v = list.Size("vocab_size");
  list.Add("model.embed_tokens.weight", {v, h});
  list.Add("model.norm.weight", {h});
  if (!config["tie_word_embeddings"]) list.Add("lm_head.weight", {v, h});
  for (int64_t i = 0; i < list.Size("num_hidden_layers"); ++i) {
    list.SetPrefix(absl::StrCat("model.layers.", i, "."));
    AddFakeAttention(name, config.value("head_dim", int64_t{4}), list);
    if (name == "MixtralForCausalLM" || absl::StrContains(name, "Moe")) {
      AddFakeExperts(name, stacked_experts, list);
      continue;
    }
    if (name == "Phi3ForCausalLM") {
      list.Add("mlp.gate_up_proj.weight", {2 * f, h});
    } else {
      list.Add("mlp.gate_proj.weight", {f, h});
      list.Add("mlp.up_proj.weight", {f, h});
    }
    list.Add("mlp.down_proj.weight", {h, f});
  }
  return list.Sorted();
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_ARCHITECTURE_FAKE_DECODERS_H_

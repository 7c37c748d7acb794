#include "core/architecture/hf_config.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/gguf_keys.h"
#include "core/architecture/hf_rope.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint32_t kMoe = kMixtral | kQwen2Moe | kQwen3Moe;
constexpr uint32_t kGemmas = kGemma | kGemma2 | kGemma3;

// Layers of the largest models, whose attention is scaled in another way; see
// decoder_config.cc.
constexpr int64_t kGemma2Largest = 46;
constexpr int64_t kGemma3Largest = 62;

// Keys that change what a model computes, and that none of the classes here can
// say. Others that nobody asked for are told to people, and left out.
constexpr absl::string_view kChanging[] = {"attention.scale",
                                           "attention.clamp_kqv",
                                           "attention.max_alibi_bias",
                                           "attention.causal",
                                           "attn_logit_softcapping",
                                           "embedding_scale",
                                           "expert_gating_func",
                                           "expert_weights_norm",
                                           "expert_weights_scale",
                                           "final_logit_softcapping",
                                           "leading_dense_block_count",
                                           "logit_scale",
                                           "residual_scale",
                                           "rope.dimension_sections",
                                           "router_logit_softcapping",
                                           "tensor_data_layout",
                                           "use_parallel_residual"};

absl::Status Unsupported(absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   message);
}

// The class of a file. Those that files can't tell apart compute the same.
absl::StatusOr<const FamilyInfo*> FindFamily(absl::string_view architecture,
                                             bool experts, bool window) {
  std::vector<std::string> known;
  for (const FamilyInfo& family : Families()) {
    if (known.empty() || known.back() != family.gguf_name) {
      known.emplace_back(family.gguf_name);
    }
    if (family.gguf_name != architecture) continue;
    const bool moe = (family.family & kMoe) != 0;
    // Two families share a name: those with experts, and those without. Of
    // the latter, one class has a window.
    if (architecture == "llama" && moe != experts) continue;
    if (architecture == "llama" && !moe &&
        window != (family.class_name == "MistralForCausalLM")) {
      continue;
    }
    return &family;
  }
  return Annotate(
      UnknownNameError("architecture", std::string(architecture), known),
      "GGUF to a checkpoint");
}

const TensorEntry* FindTensor(const GgufCheckpoint& model,
                              absl::string_view name) {
  const auto it =
      std::find_if(model.tensors.begin(), model.tensors.end(),
                   [&](const TensorEntry& t) { return t.name == name; });
  return it == model.tensors.end() ? nullptr : &*it;
}

// The type of most weights.
absl::string_view TorchDtype(const GgufCheckpoint& model) {
  std::map<DType, int64_t> elements;
  for (const TensorEntry& tensor : model.tensors) {
    elements[tensor.dtype] += NumElements(tensor.shape).value_or(0);
  }
  const int64_t f16 = elements[DType::kF16], bf16 = elements[DType::kBF16];
  const int64_t f32 = elements[DType::kF32];
  if (f16 > bf16 && f16 > f32) return "float16";
  return bf16 > f32 ? "bfloat16" : "float32";
}

class ConfigWriter {
 public:
  ConfigWriter(const GgufCheckpoint& model, std::string architecture)
      : model_(model), keys_(model.kvs, architecture) {}

  absl::StatusOr<HfConfig> Write(absl::string_view architecture) {
    QUANT_ASSIGN_OR_RETURN(const int64_t experts, keys_.Int("expert_count", 0));
    QUANT_ASSIGN_OR_RETURN(window_, WindowOf(architecture));
    QUANT_ASSIGN_OR_RETURN(family_,
                           FindFamily(architecture, experts > 0, window_ > 0));
    QUANT_RETURN_IF_ERROR(WriteName());
    QUANT_RETURN_IF_ERROR(WriteSizes());
    QUANT_RETURN_IF_ERROR(WriteHeads());
    if (experts > 0) QUANT_RETURN_IF_ERROR(WriteExperts(experts));
    QUANT_RETURN_IF_ERROR(WriteFamily());
    QUANT_RETURN_IF_ERROR(AddHfRope(
        model_,
        {.family = family_->family, .head_dim = head_dim_, .context = context_},
        keys_, config_));
    config_["tie_word_embeddings"] =
        FindTensor(model_, "output.weight") == nullptr;
    QUANT_RETURN_IF_ERROR(WriteIds());
    config_["torch_dtype"] = std::string(TorchDtype(model_));
    QUANT_RETURN_IF_ERROR(CheckUnread());
    return HfConfig{.json = config_.dump(2) + "\n", .notes = std::move(notes_)};
  }

 private:
  bool is(uint32_t families) const { return (family_->family & families) != 0; }

  // Zero where it is no part of the family.
  absl::StatusOr<int64_t> WindowOf(absl::string_view architecture) {
    const bool has = architecture == "llama" || architecture == "phi3" ||
                     architecture == "gemma2" || architecture == "gemma3";
    if (!has) return 0;
    const bool gemma = absl::StartsWith(architecture, "gemma");
    return keys_.Int("attention.sliding_window", gemma ? 4096 : 0);
  }

  absl::Status WriteName() {
    config_["architectures"] = {std::string(family_->class_name)};
    config_["model_type"] = std::string(family_->model_type);
    QUANT_ASSIGN_OR_RETURN(const std::string* name,
                           FindGguf<std::string>(model_.kvs, "general.name"));
    if (name == nullptr || name->empty()) return absl::OkStatus();
    if (JsonQuote(*name).ok()) config_["_name_or_path"] = *name;
    return absl::OkStatus();
  }

  absl::Status WriteSizes() {
    const TensorEntry* embedding = FindTensor(model_, "token_embd.weight");
    if (embedding == nullptr || embedding->shape.empty()) {
      return ModelMalformed("tensor \"token_embd.weight\" is missing");
    }
    QUANT_ASSIGN_OR_RETURN(hidden_, keys_.Int("embedding_length"));
    // A leading one is not kept in files.
    config_["vocab_size"] =
        embedding->shape.size() > 1 ? embedding->shape[0] : 1;
    config_["hidden_size"] = hidden_;
    QUANT_ASSIGN_OR_RETURN(ffn_, keys_.Int("feed_forward_length"));
    config_["intermediate_size"] = ffn_;
    QUANT_ASSIGN_OR_RETURN(layers_, keys_.Int("block_count"));
    config_["num_hidden_layers"] = layers_;
    QUANT_ASSIGN_OR_RETURN(context_, keys_.Int("context_length"));
    config_["max_position_embeddings"] = context_;
    QUANT_ASSIGN_OR_RETURN(config_["rms_norm_eps"],
                           keys_.Float("attention.layer_norm_rms_epsilon"));
    (void)keys_.FindInt("vocab_size").status();  // the embedding says it
    return absl::OkStatus();
  }

  absl::Status WriteHeads() {
    QUANT_ASSIGN_OR_RETURN(heads_, keys_.Int("attention.head_count"));
    QUANT_ASSIGN_OR_RETURN(const int64_t kv_heads,
                           keys_.Int("attention.head_count_kv", heads_));
    config_["num_attention_heads"] = heads_;
    config_["num_key_value_heads"] = kv_heads;
    const int64_t usual = heads_ > 0 ? hidden_ / heads_ : 0;
    QUANT_ASSIGN_OR_RETURN(const std::optional<int64_t> key_length,
                           keys_.FindInt("attention.key_length"));
    QUANT_ASSIGN_OR_RETURN(const int64_t value_length,
                           keys_.Int("attention.value_length", usual));
    head_dim_ = key_length.value_or(usual);
    if (value_length != head_dim_) {
      return Unsupported(absl::StrCat(
          "key attention.value_length: is ", value_length, ", and keys have ",
          head_dim_, " dimensions; config.json has one number for both"));
    }
    // Classes that don't compute it have numbers of their own.
    if (key_length || is(kGemmas | kQwen3 | kQwen3Moe)) {
      config_["head_dim"] = head_dim_;
    }
    return absl::OkStatus();
  }

  absl::Status WriteExperts(int64_t experts) {
    QUANT_ASSIGN_OR_RETURN(const int64_t used, keys_.Int("expert_used_count"));
    config_[is(kMixtral) ? "num_local_experts" : "num_experts"] = experts;
    config_["num_experts_per_tok"] = used;
    if (is(kMixtral)) {
      QUANT_ASSIGN_OR_RETURN(config_["intermediate_size"],
                             keys_.Int("expert_feed_forward_length", ffn_));
      return absl::OkStatus();
    }
    if (!is(kMoe)) return absl::OkStatus();  // MapFromGguf refuses stacks
    if (used < 1) return ModelMalformed("key expert_used_count: is 0");
    QUANT_ASSIGN_OR_RETURN(
        config_["moe_intermediate_size"],
        keys_.Int("expert_feed_forward_length", ffn_ / used));
    if (is(kQwen2Moe)) {
      QUANT_ASSIGN_OR_RETURN(
          config_["shared_expert_intermediate_size"],
          keys_.Int("expert_shared_feed_forward_length", ffn_));
    }
    config_["norm_topk_prob"] = is(kQwen3Moe);
    config_["decoder_sparse_step"] = 1;
    config_["mlp_only_layers"] = Json::array();
    return absl::OkStatus();
  }

  absl::Status WriteFamily() {
    if (is(kGemmas)) return WriteGemma();
    config_["hidden_act"] = "silu";
    if (is(kLlama)) QUANT_RETURN_IF_ERROR(WriteBiases());
    if (is(kQwen3 | kQwen3Moe)) config_["attention_bias"] = false;
    if (is(kQwen2 | kQwen3 | kQwen2Moe | kQwen3Moe)) {
      config_["use_sliding_window"] = false;
    }
    // Of llama's, all classes but one have a window.
    if (is(kMixtral | kPhi3) || family_->model_type == "mistral") {
      config_["sliding_window"] = window_ > 0 ? Json(window_) : Json();
    }
    return absl::OkStatus();
  }

  absl::Status WriteBiases() {
    const bool attention = FindTensor(model_, "blk.0.attn_q.bias") != nullptr;
    const bool mlp = FindTensor(model_, "blk.0.ffn_gate.bias") != nullptr;
    if (family_->model_type == "llama") {
      config_["attention_bias"] = attention;
      config_["mlp_bias"] = mlp;
    } else if (attention || mlp) {
      return Unsupported(
          absl::StrCat("key llama.attention.sliding_window: is set, and there "
                       "are biases; no class has both (",
                       family_->class_name, " has no biases)"));
    }
    return absl::OkStatus();
  }

  absl::Status WriteGemma() {
    config_["hidden_act"] = "gelu_pytorch_tanh";
    config_["hidden_activation"] = "gelu_pytorch_tanh";
    if (is(kGemma)) return absl::OkStatus();
    const int64_t largest = is(kGemma2) ? kGemma2Largest : kGemma3Largest;
    config_["query_pre_attn_scalar"] =
        layers_ == largest && heads_ > 0 ? hidden_ / heads_ : head_dim_;
    config_["attn_logit_softcapping"] = Json();
    if (is(kGemma2)) {
      QUANT_ASSIGN_OR_RETURN(config_["attn_logit_softcapping"],
                             keys_.Float("attn_logit_softcapping", 50));
    }
    QUANT_ASSIGN_OR_RETURN(
        const double cap,
        keys_.Float("final_logit_softcapping", is(kGemma2) ? 30 : 0));
    config_["final_logit_softcapping"] = cap > 0 ? Json(cap) : Json();
    config_["sliding_window"] = window_;
    return WritePattern();
  }

  // Which layers have a window: every one but each so-manieth, or as listed.
  absl::Status WritePattern() {
    constexpr char kKey[] = "attention.sliding_window_pattern";
    const int64_t usual = is(kGemma2) ? 2 : 6;
    const std::vector<bool>* flags = keys_.Flags(kKey);
    int64_t pattern = usual;
    if (flags == nullptr) {
      QUANT_ASSIGN_OR_RETURN(pattern, keys_.Int(kKey, usual));
      if (is(kGemma3)) config_["sliding_window_pattern"] = pattern;
      if (pattern == usual) return absl::OkStatus();
    }
    const int64_t count =
        flags == nullptr ? layers_ : static_cast<int64_t>(flags->size());
    if (count != layers_ || layers_ > kMaxLayers || pattern < 1) {
      return ModelMalformed(
          absl::StrCat("key ", kKey, ": does not fit block_count ", layers_));
    }
    Json types = Json::array();
    for (int64_t i = 0; i < count; ++i) {
      const bool sliding =
          flags == nullptr ? i % pattern < pattern - 1 : bool{(*flags)[i]};
      types.push_back(sliding ? "sliding_attention" : "full_attention");
    }
    config_["layer_types"] = std::move(types);
    return absl::OkStatus();
  }

  // Without these keys loaders take the ids of SentencePiece models.
  absl::Status WriteIds() {
    QUANT_ASSIGN_OR_RETURN(
        const std::string* model,
        FindGguf<std::string>(model_.kvs, "tokenizer.ggml.model"));
    const bool spm = model != nullptr && *model == "llama";
    const std::pair<const char*, const char*> ids[] = {
        {"bos_token_id", "bos"},
        {"eos_token_id", "eos"},
        {"pad_token_id", "padding"}};
    for (const auto& [key, name] : ids) {
      QUANT_ASSIGN_OR_RETURN(
          const uint32_t* id,
          FindGguf<uint32_t>(
              model_.kvs, absl::StrCat("tokenizer.ggml.", name, "_token_id")));
      config_[key] = Json();
      if (id != nullptr) {
        config_[key] = *id;
      } else if (spm && *name != 'p') {
        config_[key] = *name == 'b' ? 1 : 2;
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckUnread() {
    (void)keys_.FindFloat("rope.scaling.finetuned").status();
    std::vector<std::string> unread = keys_.Unread();
    for (const std::string& key : unread) {
      const absl::string_view name =
          absl::string_view(key).substr(family_->gguf_name.size() + 1);
      if (std::find(std::begin(kChanging), std::end(kChanging), name) ==
          std::end(kChanging)) {
        continue;
      }
      return Unsupported(absl::StrCat("key ", QuotedName(key),
                                      ": changes what the model computes, and "
                                      "config.json of ",
                                      family_->class_name, " can't say it"));
    }
    if (unread.empty()) return absl::OkStatus();
    if (unread.size() > 20) unread.resize(20);
    notes_.push_back(absl::StrCat("config.json has no place for the keys ",
                                  absl::StrJoin(unread, ", ")));
    return absl::OkStatus();
  }

  const GgufCheckpoint& model_;
  GgufKeys keys_;
  Json config_;
  const FamilyInfo* family_ = nullptr;
  std::vector<std::string> notes_;
  int64_t hidden_ = 0, ffn_ = 0, layers_ = 0, heads_ = 0;
  int64_t head_dim_ = 0, context_ = 0, window_ = 0;
};

}  // namespace

absl::StatusOr<HfConfig> MakeHfConfig(const GgufCheckpoint& model) {
  QUANT_ASSIGN_OR_RETURN(
      const std::string architecture,
      GetGguf<std::string>(model.kvs, "general.architecture"));
  return ConfigWriter(model, architecture).Write(architecture);
}

}  // namespace quant

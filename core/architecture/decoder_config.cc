#include "core/architecture/decoder_config.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/architecture/config_object.h"
#include "core/architecture/rope_config.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/container/json_tree.h"

namespace quant {
namespace {

using Json = nlohmann::json;

constexpr FamilyInfo kFamilies[] = {
#define QUANT_FAMILY(class_name, type, family, gguf, permutes, adds_one, tied) \
  {class_name, type, family, gguf, permutes, adds_one, tied},
#include "core/architecture/families.def"
#undef QUANT_FAMILY
};

constexpr uint32_t kMoe = kMixtral | kQwen2Moe | kQwen3Moe;
constexpr uint32_t kGemmas = kGemma | kGemma2 | kGemma3;
constexpr IntRange kU32Range = {1, std::numeric_limits<uint32_t>::max()};
constexpr IntRange kWidthRange = {1, kMaxRowElements};
constexpr size_t kMaxNameBytes = 128;
constexpr IntRange kHeadsRange = {1, kMaxHeads};

// Numbers of gemma3 that its published configs leave out.
constexpr int64_t kGemma3Heads = 8;
constexpr int64_t kGemma3KvHeads = 4;
constexpr int64_t kGemma3HeadDim = 256;
constexpr int64_t kGemma3Context = 131072;

absl::Status Unsupported(absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   absl::StrCat("config.json: ", message));
}

absl::StatusOr<const FamilyInfo*> FindFamily(const Json& config) {
  std::string name;
  const auto it = config.find("architectures");
  if (it != config.end() && it->is_array() && !it->empty() &&
      (*it)[0].is_string()) {
    name = (*it)[0].get<std::string>();
  }
  if (name.empty()) {
    return ModelMalformed("config.json: has no \"architectures\"");
  }
  std::vector<std::string> known;
  for (const FamilyInfo& family : kFamilies) {
    if (family.class_name == name) return &family;
    known.emplace_back(family.class_name);
  }
  return Annotate(UnknownNameError("architecture", name, known), "config.json");
}

// The config of the text model: wrappers keep it in an object of its own.
Json Flattened(Json config) {
  const auto text = config.find("text_config");
  if (text == config.end() || !text->is_object()) return config;
  Json inner = std::move(*text);
  config.erase("text_config");
  for (auto& [key, value] : inner.items()) {
    if (key != "architectures") config[key] = std::move(value);
  }
  return config;
}

// The last part of the name under which the model was published.
absl::Status ReadName(const ConfigObject& config, DecoderConfig& out) {
  QUANT_ASSIGN_OR_RETURN(std::string path, config.String({"_name_or_path"}));
  while (!path.empty() && path.back() == '/') path.pop_back();
  out.name = path.substr(path.rfind('/') + 1);
  if (out.name.size() > kMaxNameBytes) out.name.clear();
  return absl::OkStatus();
}

absl::Status ReadSizes(const ConfigObject& config, DecoderConfig& out) {
  const bool gemma3 = out.family->family == kGemma3;
  QUANT_ASSIGN_OR_RETURN(out.layers, config.Int({"num_hidden_layers", "n_layer",
                                                 "n_layers", "num_layers"},
                                                {1, kMaxLayers}));
  QUANT_ASSIGN_OR_RETURN(
      out.hidden, config.Int({"hidden_size", "n_embd", "dim"}, kWidthRange));
  QUANT_ASSIGN_OR_RETURN(
      out.ffn,
      config.Int({"intermediate_size", "n_inner", "hidden_dim"}, kWidthRange));
  QUANT_ASSIGN_OR_RETURN(
      out.heads, config.Int({"num_attention_heads", "n_head", "n_heads"},
                            kHeadsRange, gemma3 ? kGemma3Heads : 0));
  if (out.heads == 0) return config.Missing("num_attention_heads");
  QUANT_ASSIGN_OR_RETURN(
      out.kv_heads,
      config.Int({"num_key_value_heads", "n_kv_heads"}, kHeadsRange,
                 gemma3 ? kGemma3KvHeads : out.heads));
  QUANT_ASSIGN_OR_RETURN(out.vocab,
                         config.Int({"vocab_size"}, {1, kMaxTokens}, 0));
  QUANT_ASSIGN_OR_RETURN(
      out.context, config.Int({"max_position_embeddings", "n_ctx",
                               "n_positions", "max_length", "model_max_length"},
                              kU32Range, gemma3 ? kGemma3Context : 0));
  if (out.context == 0) return config.Missing("max_position_embeddings");
  QUANT_ASSIGN_OR_RETURN(
      out.norm_epsilon,
      config.Positive({"rms_norm_eps", "norm_eps"}, /*absent=*/1e-6));
  return absl::OkStatus();
}

absl::Status ReadHeads(const ConfigObject& config, DecoderConfig& out) {
  QUANT_ASSIGN_OR_RETURN(const std::optional<int64_t> head_dim,
                         config.FindInt({"head_dim"}, {2, kMaxRowElements}));
  out.has_head_dim = head_dim.has_value();
  if (head_dim) {
    out.head_dim = *head_dim;
  } else if (out.family->family == kGemma3) {
    out.head_dim = kGemma3HeadDim;
    out.has_head_dim = true;
  } else if (out.hidden % out.heads == 0) {
    out.head_dim = out.hidden / out.heads;
  } else {
    return ModelMalformed(
        absl::StrCat("config.json: hidden_size ", out.hidden,
                     " is no multiple of num_attention_heads ", out.heads));
  }
  if (out.head_dim % 2 != 0) {
    return ModelMalformed(absl::StrCat("config.json: heads have ", out.head_dim,
                                       " dimensions; an even number rotates"));
  }
  if (out.heads % out.kv_heads != 0) {
    return ModelMalformed(
        absl::StrCat("config.json: num_attention_heads ", out.heads,
                     " is no multiple of num_key_value_heads ", out.kv_heads));
  }
  // Rows of q, and of q, k and v together.
  if (3 * out.heads > kMaxRowElements / out.head_dim) {
    return ModelMalformed(absl::StrCat("config.json: ", out.heads, " heads of ",
                                       out.head_dim, " dimensions; at most ",
                                       kMaxRowElements / 3, " together"));
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigObject& config, DecoderConfig& out) {
  const Family family = out.family->family;
  if ((family & kMoe) == 0) return absl::OkStatus();
  QUANT_ASSIGN_OR_RETURN(
      out.experts,
      config.Int({"num_local_experts", "num_experts", "n_routed_experts"},
                 {1, kMaxExperts}));
  QUANT_ASSIGN_OR_RETURN(
      out.experts_used,
      config.Int({"num_experts_per_tok", "top_k_experts"}, {1, out.experts}));
  if (family == kMixtral) {
    out.expert_ffn = out.ffn;
    return absl::OkStatus();
  }
  QUANT_ASSIGN_OR_RETURN(out.expert_ffn,
                         config.Int({"moe_intermediate_size"}, kWidthRange));
  if (family == kQwen2Moe) {
    QUANT_ASSIGN_OR_RETURN(
        out.shared_expert_ffn,
        config.Int({"shared_expert_intermediate_size"}, kWidthRange));
  }
  // Loaders have this built in.
  QUANT_ASSIGN_OR_RETURN(const std::optional<bool> normalized,
                         config.FindBool({"norm_topk_prob"}));
  const bool wanted = family == kQwen3Moe;
  if (normalized.value_or(false) != wanted) {
    return Unsupported(
        absl::StrCat("norm_topk_prob is ", wanted ? "false" : "true",
                     "; loaders of ", out.family->gguf_name,
                     " compute as if it were ", wanted ? "true" : "false"));
  }
  return absl::OkStatus();
}

absl::Status CheckActivation(const ConfigObject& config,
                             const DecoderConfig& out) {
  const bool gelu = (out.family->family & kGemmas) != 0;
  // Gemma's first configs said "gelu" and meant the approximation.
  const std::set<std::string> allowed =
      gelu ? std::set<std::string>{"", "gelu", "gelu_pytorch_tanh"}
           : std::set<std::string>{"", "silu", "swish"};
  QUANT_ASSIGN_OR_RETURN(const std::string found,
                         config.String({"hidden_activation", "hidden_act"}));
  if (allowed.count(found) > 0) return absl::OkStatus();
  return Unsupported(absl::StrCat("hidden_act is \"", found.substr(0, 60),
                                  "\"; loaders of ", out.family->gguf_name,
                                  " compute ", *allowed.rbegin()));
}

// Loaders know the scale of attention from the model's size.
absl::Status CheckAttentionScale(const ConfigObject& config,
                                 const DecoderConfig& out) {
  const Family family = out.family->family;
  if ((family & (kGemma2 | kGemma3)) == 0) return absl::OkStatus();
  const int64_t largest = family == kGemma2 ? 46 : 62;  // layers of the 27B
  const int64_t wanted =
      out.layers == largest ? out.hidden / out.heads : out.head_dim;
  QUANT_ASSIGN_OR_RETURN(const std::optional<double> scalar,
                         config.FindPositive({"query_pre_attn_scalar"}));
  if (!scalar || *scalar == static_cast<double>(wanted)) {
    return absl::OkStatus();
  }
  return Unsupported(absl::StrCat("query_pre_attn_scalar is ", *scalar,
                                  "; loaders of ", out.family->gguf_name,
                                  " compute as if it were ", wanted));
}

// Loaders know which layers have a window: all but every so-manieth.
absl::Status CheckWindows(const ConfigObject& config,
                          const DecoderConfig& out) {
  const Family family = out.family->family;
  if ((family & (kGemma2 | kGemma3)) == 0) return absl::OkStatus();
  const int64_t period = family == kGemma2 ? 2 : 6;
  QUANT_ASSIGN_OR_RETURN(
      const int64_t pattern,
      config.Int({"sliding_window_pattern"}, {1, kU32Range.max}, period));
  if (pattern != period) {
    return Unsupported(absl::StrCat("sliding_window_pattern is ", pattern,
                                    "; loaders of ", out.family->gguf_name,
                                    " compute as if it were ", period));
  }
  const Json* types = config.Find({"layer_types"});
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array() || types->size() != static_cast<size_t>(out.layers)) {
    return config.Wrong("layer_types", *types, "a list of one per layer");
  }
  for (int64_t i = 0; i < out.layers; ++i) {
    const char* wanted =
        i % period < period - 1 ? "sliding_attention" : "full_attention";
    if ((*types)[i] != wanted) {
      return Unsupported(absl::StrCat("layer_types[", i, "] is not \"", wanted,
                                      "\"; loaders of ", out.family->gguf_name,
                                      " compute as if it were"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadAttention(const ConfigObject& config, DecoderConfig& out) {
  const Family family = out.family->family;
  if (family == kGemma2) {
    QUANT_ASSIGN_OR_RETURN(out.attention_softcap,
                           config.Positive({"attn_logit_softcapping"}, 50));
    QUANT_ASSIGN_OR_RETURN(out.final_softcap,
                           config.Positive({"final_logit_softcapping"}, 30));
  } else if (family == kGemma3) {
    QUANT_ASSIGN_OR_RETURN(out.final_softcap,
                           config.Positive({"final_logit_softcapping"}, 0));
    if (config.Has({"attn_logit_softcapping"})) {
      return Unsupported(
          "attn_logit_softcapping is set; loaders of gemma3 have none");
    }
  }
  if ((family & (kGemma2 | kGemma3 | kPhi3)) != 0) {
    QUANT_ASSIGN_OR_RETURN(out.sliding_window,
                           config.Int({"sliding_window"}, {0, kU32Range.max},
                                      family == kPhi3 ? 0 : 4096));
  }
  QUANT_RETURN_IF_ERROR(CheckWindows(config, out));
  return CheckAttentionScale(config, out);
}

// Ids are numbers, or lists of which the first counts.
absl::Status ReadIds(const ConfigObject& config, DecoderConfig& out) {
  const std::pair<absl::string_view, int64_t*> ids[] = {
      {"bos_token_id", &out.bos},
      {"eos_token_id", &out.eos},
      {"pad_token_id", &out.pad}};
  for (const auto& [key, id] : ids) {
    const Json* value = config.Find({key});
    if (value == nullptr) continue;
    if (value->is_array() && !value->empty()) value = &(*value)[0];
    if (!value->is_number_integer()) {
      return config.Wrong(key, *value, "an integer, or a list of them");
    }
    // Some configs say -1 for none.
    const int64_t found = value->get<int64_t>();
    if (found >= 0 && found < kMaxTokens) *id = found;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Span<const FamilyInfo> Families() { return kFamilies; }

absl::StatusOr<DecoderConfig> ParseDecoderConfig(absl::string_view json) {
  if (json.empty()) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     Reason::kSourceMissing,
                     "the model has no config.json, which says what its "
                     "tensors are");
  }
  auto parsed = ParseJsonTree(json);
  if (!parsed.ok()) return Annotate(parsed.status(), "config.json");
  if (!parsed->is_object()) {
    return ModelMalformed("config.json: is not a JSON object");
  }
  DecoderConfig out;
  QUANT_ASSIGN_OR_RETURN(out.family, FindFamily(*parsed));
  const Json tree = Flattened(*std::move(parsed));
  const ConfigObject config(tree);
  QUANT_RETURN_IF_ERROR(ReadName(config, out));
  QUANT_RETURN_IF_ERROR(ReadSizes(config, out));
  QUANT_RETURN_IF_ERROR(ReadHeads(config, out));
  QUANT_RETURN_IF_ERROR(ReadExperts(config, out));
  QUANT_RETURN_IF_ERROR(CheckActivation(config, out));
  QUANT_RETURN_IF_ERROR(ReadAttention(config, out));
  QUANT_ASSIGN_OR_RETURN(out.rope, ReadRope(config, out));
  QUANT_ASSIGN_OR_RETURN(out.tied, config.FindBool({"tie_word_embeddings"}));
  QUANT_RETURN_IF_ERROR(ReadIds(config, out));
  return out;
}

}  // namespace quant

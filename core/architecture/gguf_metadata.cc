#include "core/architecture/gguf_metadata.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/architecture/pre_tokenizers.h"
#include "core/architecture/rope_config.h"
#include "core/architecture/special_tokens.h"
#include "core/architecture/vocabulary.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

using Json = nlohmann::json;

constexpr double kDefaultLocalTheta = 10000;

// Appends keys under the architecture's name.
class Writer {
 public:
  explicit Writer(absl::string_view architecture)
      : prefix_(absl::StrCat(architecture, ".")) {}

  void U32(absl::string_view key, int64_t value) {
    kvs_.push_back({absl::StrCat(prefix_, key), static_cast<uint32_t>(value)});
  }
  void F32(absl::string_view key, double value) {
    kvs_.push_back({absl::StrCat(prefix_, key), static_cast<float>(value)});
  }
  void Text(absl::string_view key, absl::string_view value) {
    kvs_.push_back({absl::StrCat(prefix_, key), std::string(value)});
  }
  std::vector<GgufKv> Take() { return std::move(kvs_); }

 private:
  std::string prefix_;
  std::vector<GgufKv> kvs_;
};

void WriteRope(const DecoderConfig& config, Writer& out) {
  const RopeConfig& rope = config.rope;
  const uint32_t family = config.family->family;
  if ((family & (kLlama | kMixtral | kPhi3)) != 0) {
    out.U32("rope.dimension_count", rope.dims);
  }
  out.F32("rope.freq_base", rope.theta);
  if (family == kGemma3 && rope.local_theta != kDefaultLocalTheta) {
    out.F32("rope.freq_base_swa", rope.local_theta);
  }
  if (family == kPhi3) {
    out.U32("rope.scaling.original_context_length",
            rope.original_context > 0 ? rope.original_context : config.context);
  }
  switch (rope.scaling) {
    case RopeScaling::kNone:
    case RopeScaling::kLlama3:  // a tensor says it
      return;
    case RopeScaling::kLinear:
      out.Text("rope.scaling.type", "linear");
      out.F32("rope.scaling.factor", rope.factor);
      return;
    case RopeScaling::kYarn:
      out.Text("rope.scaling.type", "yarn");
      out.F32("rope.scaling.factor", rope.factor);
      if (family != kPhi3 && rope.original_context > 0) {
        out.U32("rope.scaling.original_context_length", rope.original_context);
      }
      if (rope.beta_fast) {
        out.F32("rope.scaling.yarn_beta_fast", *rope.beta_fast);
      }
      if (rope.beta_slow) {
        out.F32("rope.scaling.yarn_beta_slow", *rope.beta_slow);
      }
      break;
    case RopeScaling::kLongRope:
      break;
  }
  const double attention = RopeAttentionFactor(rope, config.context);
  if (attention != 1) out.F32("rope.scaling.attn_factor", attention);
}

void WriteAttention(const DecoderConfig& config, Writer& out) {
  const uint32_t family = config.family->family;
  out.U32("attention.head_count", config.heads);
  out.U32("attention.head_count_kv", config.kv_heads);
  out.F32("attention.layer_norm_rms_epsilon", config.norm_epsilon);
  if (config.has_head_dim) {
    out.U32("attention.key_length", config.head_dim);
    out.U32("attention.value_length", config.head_dim);
  }
  // phi3 says zero where there is none.
  if (family == kPhi3 || config.sliding_window > 0) {
    out.U32("attention.sliding_window", config.sliding_window);
  }
  if (config.attention_softcap > 0) {
    out.F32("attn_logit_softcapping", config.attention_softcap);
  }
  if (config.final_softcap > 0) {
    out.F32("final_logit_softcapping", config.final_softcap);
  }
}

void WriteExperts(const DecoderConfig& config, Writer& out) {
  if (config.experts == 0) return;
  out.U32("expert_count", config.experts);
  out.U32("expert_used_count", config.experts_used);
  if (config.family->family == kMixtral) return;
  out.U32("expert_feed_forward_length", config.expert_ffn);
  if (config.shared_expert_ffn > 0) {
    out.U32("expert_shared_feed_forward_length", config.shared_expert_ffn);
  }
}

std::vector<std::string> StepTypes(const Json& root, const char* list) {
  std::vector<std::string> types;
  const auto add = [&](const Json& step) {
    if (!step.is_object()) return;
    const auto type = step.find("type");
    if (type != step.end() && type->is_string()) {
      types.push_back(type->get<std::string>());
    }
  };
  add(root);
  if (!root.is_object()) return types;
  const auto inner = root.find(list);
  if (inner != root.end() && inner->is_array()) {
    for (const Json& step : *inner) add(step);
  }
  return types;
}

// Whether a space is put before the text.
bool AddsSpacePrefix(const TokenizerFiles& files) {
  const auto it = files.config.find("add_prefix_space");
  if (it != files.config.end() && it->is_boolean()) return it->get<bool>();
  if (files.spm) return files.spm->add_dummy_prefix;
  for (const std::string& type :
       StepTypes(files.json->normalizer, "normalizers")) {
    if (type == "Prepend") return true;
  }
  const Json& pre = files.json->pre_tokenizer;
  for (const std::string& type : StepTypes(pre, "pretokenizers")) {
    if (type != "Metaspace") continue;
    const auto scheme = pre.find("prepend_scheme");
    return scheme == pre.end() || *scheme != "never";
  }
  return false;
}

// A name that the user gives, for pre-tokenizers that we don't recognize.
absl::StatusOr<std::string> PreNameOf(const TokenizerFiles& files) {
  const auto it = files.config.find("ggml_pre");
  if (it == files.config.end()) return PreTokenizerName(*files.json);
  const std::string name = it->is_string() ? it->get<std::string>() : "";
  bool plain = !name.empty() && name.size() <= 64;
  for (char c : name) {
    plain =
        plain && (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_');
  }
  if (plain) return name;
  return ModelMalformed(
      "tokenizer_config.json: \"ggml_pre\" is no name of letters, digits, "
      "\"-\", \".\" and \"_\"");
}

absl::StatusOr<Vocabulary> VocabularyOf(const TokenizerFiles& files,
                                        int64_t rows) {
  if (files.spm) {
    if (!files.spm->is_bpe) {
      return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                       "tokenizer.model: is a unigram model; loaders of "
                       "decoders have BPE alone");
    }
    return VocabularyOfSpm(*files.spm, files.added, rows);
  }
  if (IsByteLevel(*files.json)) {
    return VocabularyOfBytes(*files.json, files.added, rows);
  }
  if (files.json->byte_fallback) {
    return VocabularyOfMerges(*files.json, files.added, rows);
  }
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                   "tokenizer.json: is neither byte-level nor falls back to "
                   "bytes; loaders have no such tokenizer");
}

// general.name; empty for none. Loaders strip spaces behind Phi-3's special
// tokens, as its tokenizer does, when the name says so, and fail when one of
// these tokens is then missing.
std::string NameOf(const DecoderConfig& config, const Vocabulary& vocabulary) {
  bool has_tokens = true;
  for (const char* token : {"<unk>", "<s>", "</s>", "<|endoftext|>"}) {
    has_tokens = has_tokens && vocabulary.Find(token) >= 0;
  }
  const std::string lower = absl::AsciiStrToLower(config.name);
  const bool says_so =
      absl::StrContains(lower, "phi-3") || absl::StrContains(lower, "phi3");
  if (says_so) return has_tokens ? config.name : "";
  if (config.family == nullptr || config.family->family != kPhi3 ||
      !has_tokens) {
    return config.name;
  }
  return config.name.empty() ? "Phi-3" : absl::StrCat(config.name, " (Phi-3)");
}

void WriteVocabulary(Vocabulary vocabulary, bool byte_level,
                     std::vector<GgufKv>& kvs) {
  std::vector<int32_t> types;
  for (TokenType type : vocabulary.types) {
    types.push_back(static_cast<int32_t>(type));
  }
  kvs.push_back(
      {"tokenizer.ggml.tokens", GgufArray(std::move(vocabulary.tokens))});
  if (!byte_level) {
    kvs.push_back(
        {"tokenizer.ggml.scores", GgufArray(std::move(vocabulary.scores))});
  }
  kvs.push_back({"tokenizer.ggml.token_type", GgufArray(std::move(types))});
}

}  // namespace

std::vector<GgufKv> GgufConfigKvs(const DecoderConfig& config) {
  const absl::string_view architecture = config.family->gguf_name;
  Writer out(architecture);
  out.U32("block_count", config.layers);
  out.U32("context_length", config.context);
  out.U32("embedding_length", config.hidden);
  out.U32("feed_forward_length", config.ffn);
  if (config.vocab > 0 && (config.family->family & (kLlama | kMixtral)) != 0) {
    out.U32("vocab_size", config.vocab);
  }
  WriteAttention(config, out);
  WriteRope(config, out);
  WriteExperts(config, out);
  std::vector<GgufKv> kvs = {
      {"general.architecture", std::string(architecture)},
      {"general.type", std::string("model")}};
  for (GgufKv& kv : out.Take()) kvs.push_back(std::move(kv));
  return kvs;
}

absl::StatusOr<std::vector<GgufKv>> GgufTokenizerKvs(
    const TokenizerFiles& files, const DecoderConfig& config, int64_t rows) {
  if (!files.json && !files.spm) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     Reason::kSourceMissing,
                     "the model has neither tokenizer.json nor "
                     "tokenizer.model; GGUF files carry the tokenizer");
  }
  if (rows < 1 || rows > kMaxTokens) {
    return ModelMalformed(absl::StrCat("the embedding has ", rows,
                                       " rows; from 1 to ", kMaxTokens,
                                       " are allowed"));
  }
  const bool byte_level = !files.spm && IsByteLevel(*files.json);
  auto vocabulary = VocabularyOf(files, rows);
  if (!vocabulary.ok()) return Annotate(vocabulary.status(), "tokenizer");
  std::vector<GgufKv> kvs;
  std::string name = NameOf(config, *vocabulary);
  if (!name.empty()) kvs.push_back({"general.name", std::move(name)});
  kvs.push_back(
      {"tokenizer.ggml.model", std::string(byte_level ? "gpt2" : "llama")});
  std::string pre = "default";
  if (byte_level) {
    QUANT_ASSIGN_OR_RETURN(pre, PreNameOf(files));
  }
  kvs.push_back({"tokenizer.ggml.pre", std::move(pre)});
  std::vector<GgufKv> special = SpecialTokenKvs(files, config, *vocabulary);
  WriteVocabulary(*std::move(vocabulary), byte_level, kvs);
  if (byte_level) {
    kvs.push_back({"tokenizer.ggml.merges", GgufArray(files.json->merges)});
  }
  kvs.insert(kvs.end(), special.begin(), special.end());
  if (!byte_level) {
    kvs.push_back({"tokenizer.ggml.add_space_prefix", AddsSpacePrefix(files)});
  }
  QUANT_ASSIGN_OR_RETURN(const std::vector<GgufKv> chat,
                         ChatTemplateKvs(files));
  kvs.insert(kvs.end(), chat.begin(), chat.end());
  return kvs;
}

}  // namespace quant

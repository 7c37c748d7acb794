#include "core/architecture/gguf_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "tests/core/architecture/fake_decoders.h"
#include "tests/core/architecture/spm_bytes.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

std::vector<GgufKv> ConfigKvs(const Json& config) {
  const auto parsed = ParseDecoderConfig(config.dump());
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return GgufConfigKvs(*parsed);
}

absl::StatusOr<std::vector<GgufKv>> TokenizerKvs(
    const TokenizerTexts& texts, int64_t rows,
    const Json& config = FakeConfig("LlamaForCausalLM")) {
  auto files = ParseTokenizerFiles(texts);
  if (!files.ok()) return files.status();
  return GgufTokenizerKvs(*files, *ParseDecoderConfig(config.dump()), rows);
}

std::vector<std::string> Keys(const std::vector<GgufKv>& kvs) {
  std::vector<std::string> keys;
  for (const GgufKv& kv : kvs) keys.push_back(kv.key);
  return keys;
}

template <typename T>
std::vector<T> ArrayOf(const std::vector<GgufKv>& kvs, const char* key) {
  const auto found = GetGgufArray<T>(kvs, key);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? **found : std::vector<T>();
}

TEST(GgufConfigKvs, OfALlama) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["rope_theta"] = 500000;
  const auto kvs = ConfigKvs(config);
  EXPECT_THAT(
      Keys(kvs),
      ElementsAre("general.architecture", "general.type", "llama.block_count",
                  "llama.context_length", "llama.embedding_length",
                  "llama.feed_forward_length", "llama.vocab_size",
                  "llama.attention.head_count", "llama.attention.head_count_kv",
                  "llama.attention.layer_norm_rms_epsilon",
                  "llama.rope.dimension_count", "llama.rope.freq_base"));
  EXPECT_EQ(*GetGguf<uint32_t>(kvs, "llama.rope.dimension_count"), 4u);
  EXPECT_EQ(*GetGguf<float>(kvs, "llama.rope.freq_base"), 500000.0f);
  EXPECT_EQ(*GetGguf<float>(kvs, "llama.attention.layer_norm_rms_epsilon"),
            1e-5f);
}

TEST(GgufConfigKvs, WhatEachFamilyAdds) {
  const std::tuple<const char*, const char*, uint32_t> rows[] = {
      {"Qwen3ForCausalLM", "qwen3.attention.key_length", 8},
      {"Qwen3ForCausalLM", "qwen3.attention.value_length", 8},
      {"MixtralForCausalLM", "llama.expert_count", 3},
      {"MixtralForCausalLM", "llama.expert_used_count", 2},
      {"Qwen2MoeForCausalLM", "qwen2moe.expert_feed_forward_length", 6},
      {"Qwen2MoeForCausalLM", "qwen2moe.expert_shared_feed_forward_length", 10},
      {"Qwen3MoeForCausalLM", "qwen3moe.expert_feed_forward_length", 6},
      {"GemmaForCausalLM", "gemma.attention.key_length", 8},
      {"Gemma2ForCausalLM", "gemma2.attention.sliding_window", 32},
      {"Gemma3ForCausalLM", "gemma3.attention.sliding_window", 32},
      {"Phi3ForCausalLM", "phi3.attention.sliding_window", 0},
      {"Phi3ForCausalLM", "phi3.rope.dimension_count", 4},
      {"Phi3ForCausalLM", "phi3.rope.scaling.original_context_length", 128},
  };
  for (const auto& [name, key, value] : rows) {
    const auto found = GetGguf<uint32_t>(ConfigKvs(FakeConfig(name)), key);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, value) << key;
  }
  const auto gemma2 = ConfigKvs(FakeConfig("Gemma2ForCausalLM"));
  EXPECT_EQ(*GetGguf<float>(gemma2, "gemma2.attn_logit_softcapping"), 50.0f);
  EXPECT_EQ(*GetGguf<float>(gemma2, "gemma2.final_logit_softcapping"), 30.0f);
  const auto gemma3 = ConfigKvs(FakeConfig("Gemma3ForCausalLM"));
  EXPECT_EQ(*GetGguf<float>(gemma3, "gemma3.rope.freq_base"), 1e6f);
  EXPECT_EQ(FindGgufValue(gemma3, "gemma3.final_logit_softcapping"), nullptr);
  EXPECT_EQ(FindGgufValue(gemma3, "gemma3.rope.freq_base_swa"), nullptr);
}

TEST(GgufConfigKvs, RopeScaling) {
  Json config = FakeConfig("Qwen2ForCausalLM");
  config["rope_scaling"] = {{"type", "yarn"},
                            {"factor", 4.0},
                            {"beta_fast", 16},
                            {"original_max_position_embeddings", 32768}};
  auto kvs = ConfigKvs(config);
  EXPECT_EQ(*GetGguf<std::string>(kvs, "qwen2.rope.scaling.type"), "yarn");
  EXPECT_EQ(*GetGguf<float>(kvs, "qwen2.rope.scaling.factor"), 4.0f);
  EXPECT_EQ(
      *GetGguf<uint32_t>(kvs, "qwen2.rope.scaling.original_context_length"),
      32768u);
  EXPECT_EQ(*GetGguf<float>(kvs, "qwen2.rope.scaling.yarn_beta_fast"), 16.0f);
  EXPECT_EQ(FindGgufValue(kvs, "qwen2.rope.scaling.attn_factor"), nullptr);
  config["rope_scaling"]["attention_factor"] = 2.0;
  kvs = ConfigKvs(config);
  EXPECT_FLOAT_EQ(*GetGguf<float>(kvs, "qwen2.rope.scaling.attn_factor"),
                  2.0f / 1.1386294f);
  Json llama = FakeConfig("LlamaForCausalLM");
  llama["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", 8}};
  EXPECT_EQ(FindGgufValue(ConfigKvs(llama), "llama.rope.scaling.type"),
            nullptr);
  Json phi = FakeConfig("Phi3ForCausalLM");
  phi["max_position_embeddings"] = 131072;
  phi["original_max_position_embeddings"] = 4096;
  phi["rope_scaling"] = {
      {"type", "longrope"}, {"long_factor", {1, 2}}, {"short_factor", {1, 1}}};
  kvs = ConfigKvs(phi);
  EXPECT_FLOAT_EQ(*GetGguf<float>(kvs, "phi3.rope.scaling.attn_factor"),
                  1.190238f);
  EXPECT_EQ(
      *GetGguf<uint32_t>(kvs, "phi3.rope.scaling.original_context_length"),
      4096u);
}

TEST(GgufTokenizerKvs, OfBytes) {
  const auto kvs = TokenizerKvs(
      {.tokenizer_json = FakeTokenizerJson(),
       .tokenizer_config =
           R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}})"},
      11);
  ASSERT_TRUE(kvs.ok()) << kvs.status();
  EXPECT_THAT(
      Keys(*kvs),
      ElementsAre("tokenizer.ggml.model", "tokenizer.ggml.pre",
                  "tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
                  "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id",
                  "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_bos_token",
                  "tokenizer.ggml.add_eos_token"));
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.ggml.pre"), "gpt-2");
  EXPECT_THAT(ArrayOf<std::string>(*kvs, "tokenizer.ggml.tokens"),
              ElementsAre("<s>", "</s>", "a", "b", "c", "ab", "abc", "d",
                          "[PAD8]", "[PAD9]", "[PAD10]"));
  EXPECT_THAT(ArrayOf<int32_t>(*kvs, "tokenizer.ggml.token_type"),
              ElementsAre(3, 3, 1, 1, 1, 1, 1, 1, 5, 5, 5));
  EXPECT_THAT(ArrayOf<std::string>(*kvs, "tokenizer.ggml.merges"),
              ElementsAre("a b", "ab c"));
  EXPECT_EQ(*GetGguf<uint32_t>(*kvs, "tokenizer.ggml.eos_token_id"), 1u);
  // No template: nothing is put there.
  EXPECT_FALSE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_bos_token"));
}

std::string SpmBytes() {
  return SpmPieceBytes("<unk>", 0, 2) + SpmPieceBytes("<s>", 0, 3) +
         SpmPieceBytes("</s>", 0, 3) + SpmPieceBytes("<0x0A>", 0, 6) +
         SpmPieceBytes("\u2581a", -1, 1) + SpmPieceBytes("b", -2, 1) +
         SpmMessage(2, SpmNumber(3, 2)) + SpmMessage(3, SpmNumber(3, 0));
}

TEST(GgufTokenizerKvs, OfASentencePieceModel) {
  const auto kvs = TokenizerKvs(
      {.tokenizer_model = SpmBytes(),
       .tokenizer_config =
           R"({"add_bos_token": true, "pad_token": null, "chat_template": "{{x}}",
               "added_tokens_decoder": {
                 "0": {"content": "<unk>", "special": true},
                 "6": {"content": "<|end|>", "special": false},
                 "7": {"content": "\u2581x", "special": false},
                 "99": {"content": "beyond", "special": true}}})"},
      9);
  ASSERT_TRUE(kvs.ok()) << kvs.status();
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.ggml.model"), "llama");
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.ggml.pre"), "default");
  EXPECT_THAT(ArrayOf<std::string>(*kvs, "tokenizer.ggml.tokens"),
              ElementsAre("<unk>", "<s>", "</s>", "<0x0A>", "\u2581a", "b",
                          "<|end|>", " x", "[PAD8]"));
  EXPECT_THAT(ArrayOf<float>(*kvs, "tokenizer.ggml.scores"),
              ElementsAre(0, 0, 0, 0, -1, -2, -1000, -1000, -10000));
  EXPECT_THAT(ArrayOf<int32_t>(*kvs, "tokenizer.ggml.token_type"),
              ElementsAre(2, 3, 3, 6, 1, 1, 3, 4, 5));
  EXPECT_FALSE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_space_prefix"));
  EXPECT_TRUE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_bos_token"));
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.chat_template"), "{{x}}");
  EXPECT_EQ(*GetGguf<uint32_t>(*kvs, "tokenizer.ggml.unknown_token_id"), 0u);
  EXPECT_EQ(FindGgufValue(*kvs, "tokenizer.ggml.padding_token_id"), nullptr);
  EXPECT_EQ(FindGgufValue(*kvs, "tokenizer.ggml.merges"), nullptr);
}

TEST(GgufTokenizerKvs, ScoresComeFromMergesWhenThatIsAllThereIs) {
  const auto kvs = TokenizerKvs(
      {.tokenizer_json = R"({"model": {"type": "BPE", "byte_fallback": true,
          "unk_token": "<unk>",
          "vocab": {"<unk>": 0, "<0x41>": 1, "a": 2, "b": 3, "ab": 4, "abb": 5},
          "merges": ["a b", "ab b", "a bb"]},
          "normalizer": {"type": "Sequence", "normalizers":
            [{"type": "Prepend", "prepend": "\u2581"}]}})"},
      6);
  ASSERT_TRUE(kvs.ok()) << kvs.status();
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.ggml.model"), "llama");
  EXPECT_THAT(ArrayOf<float>(*kvs, "tokenizer.ggml.scores"),
              ElementsAre(0, 0, -3, -3, 0, -1));
  EXPECT_THAT(ArrayOf<int32_t>(*kvs, "tokenizer.ggml.token_type"),
              ElementsAre(2, 6, 1, 1, 1, 1));
  EXPECT_TRUE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_space_prefix"));
}

TEST(GgufTokenizerKvs, TemplatesPutTokensThere) {
  Json tokenizer = Json::parse(FakeTokenizerJson());
  tokenizer["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"},
         {"single",
          {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
           {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}}}}};
  const auto kvs = TokenizerKvs(
      {.tokenizer_json = tokenizer.dump(),
       .special_tokens_map = R"({"bos_token": "<s>", "eos_token": "</s>"})"},
      8);
  ASSERT_TRUE(kvs.ok()) << kvs.status();
  EXPECT_TRUE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_bos_token"));
  EXPECT_FALSE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_eos_token"));
}

TEST(GgufTokenizerKvs, NumbersCountWhereNoTextDoes) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["bos_token_id"] = 4;
  config["eos_token_id"] = {99, 2};
  const auto kvs =
      TokenizerKvs({.tokenizer_json = FakeTokenizerJson(),
                    .tokenizer_config = R"({"bos_token": "nowhere"})",
                    .generation_config = R"({"eos_token_id": [3, 1]})"},
                   8, config);
  ASSERT_TRUE(kvs.ok()) << kvs.status();
  EXPECT_EQ(*GetGguf<uint32_t>(*kvs, "tokenizer.ggml.bos_token_id"), 4u);
  // 99 is beyond the vocabulary.
  EXPECT_EQ(*GetGguf<uint32_t>(*kvs, "tokenizer.ggml.eos_token_id"), 3u);
}

TEST(GgufTokenizerKvs, ChatTemplates) {
  const std::string json = FakeTokenizerJson();
  auto kvs = TokenizerKvs(
      {.tokenizer_json = json, .tokenizer_config = R"({"chat_template": [
           {"name": "default", "template": "A"},
           {"name": "Tool-Use", "template": "B"}]})"},
      8);
  ASSERT_TRUE(kvs.ok()) << kvs.status();
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.chat_template"), "A");
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.chat_template.tool_use"),
            "B");
  EXPECT_THAT(ArrayOf<std::string>(*kvs, "tokenizer.chat_templates"),
              ElementsAre("tool_use"));
  kvs = TokenizerKvs({.tokenizer_json = json,
                      .tokenizer_config = R"({"chat_template": "A"})",
                      .chat_template_jinja = "C"},
                     8);
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.chat_template"), "C");
  kvs = TokenizerKvs({.tokenizer_json = json,
                      .chat_template_json = R"({"chat_template": "D"})"},
                     8);
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.chat_template"), "D");
  for (const char* config :
       {R"({"chat_template": 7})", R"({"chat_template": [{"name": "x"}]})",
        R"({"chat_template": [{"name": "x", "template": "1"},
                              {"name": "X", "template": "2"}]})"}) {
    EXPECT_EQ(
        GetReason(TokenizerKvs(
                      {.tokenizer_json = json, .tokenizer_config = config}, 8)
                      .status()),
        Reason::kModelMalformed);
  }
  EXPECT_FALSE(
      TokenizerKvs({.tokenizer_json = json, .chat_template_jinja = "\xFF"}, 8)
          .ok());
}

TEST(GgufTokenizerKvs, TheUserMayNameThePreTokenizer) {
  Json tokenizer = Json::parse(FakeTokenizerJson());
  tokenizer["pre_tokenizer"]["add_prefix_space"] = true;
  TokenizerTexts texts{.tokenizer_json = tokenizer.dump()};
  EXPECT_EQ(GetReason(TokenizerKvs(texts, 8).status()), Reason::kUnsupported);
  texts.tokenizer_config = R"({"ggml_pre": "falcon3"})";
  EXPECT_EQ(
      *GetGguf<std::string>(*TokenizerKvs(texts, 8), "tokenizer.ggml.pre"),
      "falcon3");
  texts.tokenizer_config = R"({"ggml_pre": "a b"})";
  EXPECT_FALSE(TokenizerKvs(texts, 8).ok());
}

TEST(GgufTokenizerKvs, NamesSayPhi3WhereItsTokensAre) {
  const std::string others = SpmBytes();
  const std::string phi = others + SpmPieceBytes("<|endoftext|>", 0, 3);
  const std::tuple<const char*, const char*, bool, const char*> rows[] = {
      {"Phi3ForCausalLM", "", true, "Phi-3"},
      {"Phi3ForCausalLM", "me/chat", true, "chat (Phi-3)"},
      {"Phi3ForCausalLM", "x/Phi-3-mini", true, "Phi-3-mini"},
      {"Phi3ForCausalLM", "x/Phi-3-mini", false, ""},
      {"Phi3ForCausalLM", "x/phi-4", false, "phi-4"},
      {"LlamaForCausalLM", "x/Phi3-as-llama", true, "Phi3-as-llama"},
      {"LlamaForCausalLM", "x/Phi3-as-llama", false, ""},
      {"LlamaForCausalLM", "x/Llama", true, "Llama"},
      {"LlamaForCausalLM", "", true, ""},
  };
  for (const auto& [family, path, has_tokens, name] : rows) {
    Json config = FakeConfig(family);
    config["_name_or_path"] = path;
    const auto kvs =
        TokenizerKvs({.tokenizer_model = has_tokens ? phi : others}, 8, config);
    ASSERT_TRUE(kvs.ok()) << kvs.status();
    const auto found = FindGguf<std::string>(*kvs, "general.name");
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found == nullptr ? "" : **found, name) << family << " " << path;
  }
}

TEST(GgufTokenizerKvs, RefusesContradictions) {
  const std::string json = FakeTokenizerJson();
  EXPECT_EQ(GetReason(TokenizerKvs({}, 8).status()), Reason::kSourceMissing);
  EXPECT_THAT(
      std::string(TokenizerKvs({.tokenizer_json = json}, 7).status().message()),
      HasSubstr("has id 7, but the embedding has 7 rows"));
  EXPECT_FALSE(TokenizerKvs({.tokenizer_json = json}, 0).ok());
  EXPECT_FALSE(TokenizerKvs({.tokenizer_json = json}, int64_t{1} << 40).ok());
  Json doubled = Json::parse(json);
  doubled["model"]["vocab"]["e"] = 7;
  EXPECT_THAT(std::string(TokenizerKvs({.tokenizer_json = doubled.dump()}, 8)
                              .status()
                              .message()),
              HasSubstr("id 7 belongs to \"d\" and \"e\""));
  Json twice = Json::parse(json);
  twice["added_tokens"].push_back({{"id", 9}, {"content", "d"}});
  EXPECT_THAT(std::string(TokenizerKvs({.tokenizer_json = twice.dump()}, 10)
                              .status()
                              .message()),
              HasSubstr("has the ids"));
  // A unigram model, and a tokenizer of neither kind.
  EXPECT_EQ(
      GetReason(TokenizerKvs({.tokenizer_model = SpmPieceBytes("a", 0, 1)}, 8)
                    .status()),
      Reason::kUnsupported);
  Json plain = Json::parse(json);
  plain.erase("pre_tokenizer");
  EXPECT_EQ(
      GetReason(TokenizerKvs({.tokenizer_json = plain.dump()}, 8).status()),
      Reason::kUnsupported);
  EXPECT_FALSE(
      TokenizerKvs({.tokenizer_json = json, .tokenizer_config = "[]"}, 8).ok());
  EXPECT_FALSE(
      TokenizerKvs({.tokenizer_json = json, .added_tokens = R"({"x": -1})"}, 8)
          .ok());
}

// The tokenizer files of a real model, and its config.
struct RealModel {
  TokenizerTexts texts;
  DecoderConfig config;
};

absl::StatusOr<RealModel> OpenReal(const std::string& path) {
  RealModel real;
  QUANT_ASSIGN_OR_RETURN(const auto model, OpenModel(path));
  QUANT_ASSIGN_OR_RETURN(real.texts, ReadTokenizerTexts(*model));
  QUANT_ASSIGN_OR_RETURN(real.config, ParseDecoderConfig(model->config_json()));
  return real;
}

absl::StatusOr<std::vector<GgufKv>> KvsOf(const RealModel& real) {
  QUANT_ASSIGN_OR_RETURN(const TokenizerFiles files,
                         ParseTokenizerFiles(real.texts));
  return GgufTokenizerKvs(files, real.config, real.config.vocab);
}

// Merges and scores of one tokenizer must ask for the same order.
TEST(GgufTokenizerKvs, MergesGiveTheOrderOfScores) {
  // A SentencePiece model, and the merges that its pieces make.
  const char* pieces[] = {"a", "b", "c", "bc", "ab", "abc"};
  std::string spm = SpmMessage(2, SpmNumber(3, 2));
  Json vocab = Json::object();
  for (int i = 0; i < 6; ++i) {
    spm += SpmPieceBytes(pieces[i], static_cast<float>(i < 3 ? -9 : 3 - i), 1);
    vocab[pieces[i]] = i;
  }
  const Json json = {{"model",
                      {{"type", "BPE"},
                       {"byte_fallback", true},
                       {"vocab", vocab},
                       {"merges", {"b c", "a b", "a bc", "ab c"}}}}};
  const auto by_scores = ArrayOf<float>(
      *TokenizerKvs({.tokenizer_model = spm}, 6), "tokenizer.ggml.scores");
  const auto by_merges =
      ArrayOf<float>(*TokenizerKvs({.tokenizer_json = json.dump()}, 6),
                     "tokenizer.ggml.scores");
  for (int i = 3; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) {
      EXPECT_EQ(by_scores[i] < by_scores[j], by_merges[i] < by_merges[j]);
    }
  }
}

TEST(GgufTokenizerKvs, OfTheBundledModel) {
  const auto real = OpenReal(
      absl::StrCat(QUANT_SOURCE_DIR, "/examples/tiny-own-pad768-bf16"));
  ASSERT_TRUE(real.ok()) << real.status();
  const auto kvs = KvsOf(*real);
  ASSERT_TRUE(kvs.ok()) << kvs.status();
  const auto tokens = ArrayOf<std::string>(*kvs, "tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), 2048u);
  EXPECT_EQ(tokens[0], "<s>");
  EXPECT_EQ(tokens[2], "\u0100");
  const auto merges = ArrayOf<std::string>(*kvs, "tokenizer.ggml.merges");
  ASSERT_EQ(merges.size(), 1790u);
  EXPECT_EQ(merges[0], "\u0120 t");
  EXPECT_EQ(merges.back(), "at han");
  EXPECT_EQ(*GetGguf<std::string>(*kvs, "tokenizer.ggml.pre"), "gpt-2");
  EXPECT_EQ(*GetGguf<uint32_t>(*kvs, "tokenizer.ggml.bos_token_id"), 0u);
  EXPECT_EQ(*GetGguf<uint32_t>(*kvs, "tokenizer.ggml.eos_token_id"), 1u);
  EXPECT_TRUE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_bos_token"));
  EXPECT_FALSE(*GetGguf<bool>(*kvs, "tokenizer.ggml.add_eos_token"));
}

// All real models that are there: the bundled one at least.
TEST(GgufTokenizerKvs, OfRealModels) {
  std::vector<std::string> paths = {
      absl::StrCat(QUANT_SOURCE_DIR, "/examples/tiny-own-pad768-bf16")};
  const char* more = ::getenv("QUANT_TEST_MODELS");
  const std::string folder =
      more != nullptr ? more : QUANT_SOURCE_DIR "/../shared/data/models";
  if (const auto entries = ListDirectory(folder); entries.ok()) {
    for (const DirEntry& entry : *entries) {
      paths.push_back(JoinPath(folder, entry.name));
    }
  }
  for (const std::string& path : paths) {
    auto real = OpenReal(path);
    ASSERT_TRUE(real.ok()) << real.status();
    const auto kvs = KvsOf(*real);
    ASSERT_TRUE(kvs.ok()) << kvs.status();
    const auto tokens = ArrayOf<std::string>(*kvs, "tokenizer.ggml.tokens");
    EXPECT_EQ(static_cast<int64_t>(tokens.size()), real->config.vocab);
    if (real->texts.tokenizer_model.empty()) continue;
    const auto scores = ArrayOf<float>(*kvs, "tokenizer.ggml.scores");
    // The same from tokenizer.json alone.
    real->texts.tokenizer_model.clear();
    const auto others = KvsOf(*real);
    ASSERT_TRUE(others.ok()) << others.status();
    EXPECT_EQ(ArrayOf<std::string>(*others, "tokenizer.ggml.tokens"), tokens);
    const auto ranks = ArrayOf<float>(*others, "tokenizer.ggml.scores");
    const auto types = ArrayOf<int32_t>(*others, "tokenizer.ggml.token_type");
    const float last = *std::min_element(ranks.begin() + 259, ranks.end());
    for (size_t i = 0; i < tokens.size(); ++i) {
      for (size_t j = 0; j < tokens.size(); ++j) {
        if (types[i] != 1 || types[j] != 1 || ranks[i] == last ||
            ranks[j] == last) {
          continue;
        }
        EXPECT_EQ(scores[i] < scores[j], ranks[i] < ranks[j])
            << tokens[i] << " " << tokens[j];
      }
    }
  }
}

}  // namespace
}  // namespace quant

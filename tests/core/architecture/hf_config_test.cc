#include "core/architecture/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/gguf_metadata.h"
#include "core/architecture/gguf_names.h"
#include "core/base/error.h"
#include "tests/core/architecture/fake_decoders.h"

namespace quant {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

// What a checkpoint becomes in a file, as far as a config is made of it.
struct File {
  explicit File(const Json& config) {
    const auto parsed = ParseDecoderConfig(config.dump());
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    kvs = GgufConfigKvs(*parsed);
    auto map = MapToGguf(*parsed, FakeTensors(config));
    EXPECT_TRUE(map.ok()) << map.status();
    for (GgufMapping& mapping : map->tensors) {
      tensors.push_back({.name = mapping.name,
                         .dtype = mapping.dtype,
                         .shape = mapping.shape});
      if (mapping.name == "rope_freqs.weight") freqs = mapping.values;
      if (mapping.name == "rope_factors_long.weight") longs = mapping.values;
      if (mapping.name == "rope_factors_short.weight") shorts = mapping.values;
    }
  }

  absl::StatusOr<HfConfig> Make() const {
    return MakeHfConfig({.kvs = kvs,
                         .tensors = tensors,
                         .rope_freqs = freqs,
                         .long_factors = longs,
                         .short_factors = shorts});
  }

  Json Config() const {
    const auto made = Make();
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? Json::parse(made->json) : Json::object();
  }

  void Set(const std::string& key, GgufValue value) {
    Erase(key);
    kvs.push_back({key, std::move(value)});
  }
  void Erase(const std::string& key) {
    std::erase_if(kvs, [&](const GgufKv& kv) { return kv.key == key; });
  }

  std::vector<GgufKv> kvs;
  std::vector<TensorEntry> tensors;
  std::vector<float> freqs, longs, shorts;
};

// The scaling that comes back, without what is null.
Json ScalingOf(const char* name, const Json& scaling, const Json& more = {}) {
  Json config = FakeConfig(name);
  config["head_dim"] = 32;
  if (config.contains("query_pre_attn_scalar")) {
    config["query_pre_attn_scalar"] = 32;
  }
  config["rope_scaling"] = scaling;
  if (!more.is_null()) config.update(more);
  const File file(config);
  const Json made = file.Config();
  // Both configs make the same file, to the last bit.
  EXPECT_EQ(File(made).kvs, file.kvs);
  EXPECT_EQ(File(made).freqs, file.freqs);
  EXPECT_EQ(File(made).longs, file.longs);
  EXPECT_EQ(File(made).shorts, file.shorts);
  return made["rope_scaling"];
}

TEST(HfConfig, NumbersAreTheDecimalsThatWereMeant) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["rms_norm_eps"] = 1e-5;
  config["rope_theta"] = 1.5e6;
  const Json made = File(config).Config();
  EXPECT_EQ(made["rms_norm_eps"].get<double>(), 1e-5);
  EXPECT_EQ(made["rope_theta"].get<double>(), 1.5e6);
}

TEST(HfConfig, LinearAndNone) {
  const Json linear = {{"rope_type", "linear"}, {"factor", 2.5}};
  EXPECT_EQ(ScalingOf("LlamaForCausalLM", linear), linear);
  EXPECT_EQ(ScalingOf("Gemma3ForCausalLM", linear), linear);
  EXPECT_TRUE(ScalingOf("LlamaForCausalLM", nullptr).is_null());
  File older(FakeConfig("LlamaForCausalLM"));
  older.Set("llama.rope.scale_linear", 4.0f);
  EXPECT_EQ(older.Config()["rope_scaling"],
            Json({{"rope_type", "linear"}, {"factor", 4.0}}));
  older.Set("llama.rope.scaling.type", std::string("none"));
  EXPECT_TRUE(older.Config()["rope_scaling"].is_null());
}

TEST(HfConfig, Llama3IsFoundByItsFactors) {
  for (double factor : {8.0, 32.0}) {
    for (int context : {8192, 64, 4096}) {
      const Json scaling = {{"rope_type", "llama3"},
                            {"factor", factor},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", context}};
      EXPECT_EQ(ScalingOf("LlamaForCausalLM", scaling,
                          {{"rope_theta", 500000.0}, {"head_dim", 128}}),
                scaling);
    }
  }
  // Only ratios count.
  const Json made = ScalingOf("LlamaForCausalLM",
                              {{"rope_type", "llama3"},
                               {"factor", 5.0},
                               {"low_freq_factor", 2.0},
                               {"high_freq_factor", 6.0},
                               {"original_max_position_embeddings", 1200}},
                              {{"head_dim", 128}});
  EXPECT_EQ(made["low_freq_factor"], 1.0);
  EXPECT_EQ(made["high_freq_factor"], 3.0);
  EXPECT_EQ(made["original_max_position_embeddings"], 600);
}

TEST(HfConfig, FactorsThatNoConfigMakesAreRefused) {
  File file(FakeConfig("LlamaForCausalLM"));
  file.freqs = {1, 7};
  file.freqs[0] = 2.5f;
  EXPECT_EQ(GetReason(file.Make().status()), Reason::kUnsupported);
  file.freqs = {1, 1, 1};
  EXPECT_EQ(GetReason(file.Make().status()), Reason::kUnsupported);
  file.freqs = {0.5f, 1};
  EXPECT_EQ(GetReason(file.Make().status()), Reason::kUnsupported);
  file.freqs = {1, NAN};
  EXPECT_EQ(GetReason(file.Make().status()), Reason::kUnsupported);
  file.freqs = {1, 1};
  EXPECT_TRUE(file.Config()["rope_scaling"].is_null());
}

TEST(HfConfig, Yarn) {
  Json scaling = {{"rope_type", "yarn"},
                  {"factor", 4.0},
                  {"original_max_position_embeddings", 32}};
  EXPECT_EQ(ScalingOf("Qwen2ForCausalLM", scaling), scaling);
  scaling["beta_fast"] = 16.0;
  scaling["beta_slow"] = 2.0;
  scaling["attention_factor"] = 1.37;
  EXPECT_EQ(ScalingOf("Qwen2ForCausalLM", scaling), scaling);
}

TEST(HfConfig, LongRope) {
  const std::vector<double> longs = {1, 1.37, 1.74, 2.11, 2.48, 2.85, 3.2, 4};
  const std::vector<double> shorts = {1,    1.03, 1.06, 1.09,
                                      1.12, 1.15, 1.18, 1.21};
  const Json scaling = {
      {"type", "longrope"}, {"long_factor", longs}, {"short_factor", shorts}};
  const Json more = {{"partial_rotary_factor", 0.5},
                     {"original_max_position_embeddings", 64}};
  EXPECT_EQ(ScalingOf("Phi3ForCausalLM", scaling, more), scaling);
  Json given = scaling;
  given["attention_factor"] = 1.25;
  EXPECT_EQ(ScalingOf("Phi3ForCausalLM", given, more), given);
  File half(FakeConfig("Phi3ForCausalLM"));
  half.longs = {1, 2};
  EXPECT_EQ(GetReason(half.Make().status()), Reason::kModelMalformed);
}

TEST(HfConfig, WindowsAndTheta) {
  const Json phi = File(FakeConfig("Phi3ForCausalLM")).Config();
  EXPECT_TRUE(phi["sliding_window"].is_null());
  EXPECT_EQ(phi["original_max_position_embeddings"], 128);
  Json config = FakeConfig("Phi3ForCausalLM");
  config["sliding_window"] = 2047;
  EXPECT_EQ(File(config).Config()["sliding_window"], 2047);
  const Json gemma = File(FakeConfig("Gemma3ForCausalLM")).Config();
  EXPECT_EQ(gemma["rope_theta"], 1e6);
  EXPECT_EQ(gemma["rope_local_base_freq"], 10000.0);
  EXPECT_EQ(gemma["sliding_window_pattern"], 6);
  EXPECT_FALSE(gemma.contains("layer_types"));
  File listed(FakeConfig("Gemma2ForCausalLM"));
  listed.Set("gemma2.attention.sliding_window_pattern",
             GgufArray(std::vector<bool>{false, true}));
  EXPECT_EQ(listed.Config()["layer_types"],
            Json({"full_attention", "sliding_attention"}));
  listed.Set("gemma2.attention.sliding_window_pattern",
             GgufArray(std::vector<bool>{true}));
  EXPECT_EQ(GetReason(listed.Make().status()), Reason::kModelMalformed);
  File mistral(FakeConfig("MistralForCausalLM"));
  EXPECT_EQ(mistral.Config()["architectures"], Json({"LlamaForCausalLM"}));
  mistral.Set("llama.attention.sliding_window", uint32_t{4096});
  EXPECT_EQ(mistral.Config()["architectures"], Json({"MistralForCausalLM"}));
  EXPECT_EQ(mistral.Config()["sliding_window"], 4096);
}

TEST(HfConfig, ListsOfOneNumberAreThatNumber) {
  File file(FakeConfig("LlamaForCausalLM"));
  const std::string key = "llama.feed_forward_length";
  file.Set(key, GgufArray(std::vector<int32_t>{24, 24}));
  EXPECT_EQ(file.Config()["intermediate_size"], 24);
  file.Set(key, GgufArray(std::vector<uint32_t>{24, 48}));
  EXPECT_EQ(GetReason(file.Make().status()), Reason::kUnsupported);
  file.Set(key, GgufArray(std::vector<uint32_t>{}));
  EXPECT_EQ(GetReason(file.Make().status()), Reason::kModelMalformed);
}

TEST(HfConfig, WhatFilesMayNotSay) {
  const std::tuple<const char*, GgufValue, Reason, const char*> cases[] = {
      {"general.architecture", std::string("falcon"), Reason::kUnknownName,
       "known: llama"},
      {"general.architecture", uint32_t{1}, Reason::kModelMalformed,
       "string is needed"},
      {"llama.block_count", int32_t{2}, Reason::kModelMalformed,
       "u32 is needed"},
      {"llama.attention.layer_norm_rms_epsilon", NAN, Reason::kModelMalformed,
       "not finite"},
      {"llama.attention.value_length", uint32_t{8}, Reason::kUnsupported,
       "one number for both"},
      {"llama.rope.dimension_count", uint32_t{2}, Reason::kUnsupported,
       "whole heads"},
      {"llama.rope.scaling.type", std::string("odd"), Reason::kUnsupported,
       "yarn"},
      {"llama.rope.scaling.attn_factor", 2.0f, Reason::kUnsupported,
       "attn_factor"},
      {"llama.rope.scaling.yarn_ext_factor", 0.5f, Reason::kUnsupported,
       "yarn_ext_factor"},
      {"llama.attention.scale", 0.5f, Reason::kUnsupported,
       "changes what the model computes"},
      {"llama.logit_scale", 0.5f, Reason::kUnsupported, "logit_scale"},
  };
  for (const auto& [key, value, reason, text] : cases) {
    File file(FakeConfig("LlamaForCausalLM"));
    file.Set(key, value);
    const auto made = file.Make();
    ASSERT_FALSE(made.ok()) << key;
    EXPECT_EQ(GetReason(made.status()), reason) << made.status();
    EXPECT_THAT(std::string(made.status().message()), HasSubstr(text));
  }
  for (const char* key :
       {"general.architecture", "llama.block_count", "llama.context_length",
        "llama.embedding_length", "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon"}) {
    File file(FakeConfig("LlamaForCausalLM"));
    file.Erase(key);
    EXPECT_EQ(GetReason(file.Make().status()), Reason::kModelMalformed) << key;
  }
}

TEST(HfConfig, KeysThatAreLeftOutAreTold) {
  File file(FakeConfig("LlamaForCausalLM"));
  file.Set("llama.rope.scaling.finetuned", true);
  file.Set("llama.odd", uint32_t{1});
  const auto made = file.Make();
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(made->notes.size(), 1u);
  EXPECT_THAT(made->notes[0], HasSubstr("llama.odd"));
}

}  // namespace
}  // namespace quant

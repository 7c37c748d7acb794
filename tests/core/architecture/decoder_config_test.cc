#include "core/architecture/decoder_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/architecture/rope_config.h"
#include "core/base/error.h"
#include "tests/core/architecture/fake_decoders.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

absl::StatusOr<DecoderConfig> Parse(const Json& config) {
  return ParseDecoderConfig(config.dump());
}

Json With(const std::string& class_name, const Json& patch) {
  Json config = FakeConfig(class_name);
  config.merge_patch(patch);
  return config;
}

TEST(DecoderConfig, ReadsEveryFamily) {
  ASSERT_EQ(Families().size(), 12u);
  for (const FamilyInfo& family : Families()) {
    const auto config = Parse(FakeConfig(std::string(family.class_name)));
    ASSERT_TRUE(config.ok()) << family.class_name << config.status();
    EXPECT_EQ(config->family->class_name, family.class_name);
    EXPECT_EQ(config->layers, 2);
    EXPECT_EQ(config->heads, 4);
    EXPECT_EQ(config->kv_heads, 2);
    EXPECT_EQ(config->context, 128);
    EXPECT_EQ(config->norm_epsilon, 1e-5);
  }
}

TEST(DecoderConfig, DefaultsAreThoseOfTheClasses) {
  Json config = FakeConfig("LlamaForCausalLM");
  for (const char* key :
       {"num_key_value_heads", "vocab_size", "tie_word_embeddings"}) {
    config.erase(key);
  }
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->kv_heads, 4);
  EXPECT_EQ(parsed->head_dim, 4);
  EXPECT_FALSE(parsed->has_head_dim);
  EXPECT_EQ(parsed->vocab, 0);
  EXPECT_FALSE(parsed->tied.has_value());
  EXPECT_EQ(parsed->rope.theta, 10000);
  EXPECT_EQ(parsed->rope.dims, 4);
  EXPECT_EQ(parsed->bos, -1);
}

TEST(DecoderConfig, NamesAreTheLastPartOfThePath) {
  const std::tuple<const char*, Json, const char*> rows[] = {
      {"LlamaForCausalLM", nullptr, ""},
      {"LlamaForCausalLM", "some/Model-7B", "Model-7B"},
      {"LlamaForCausalLM", "/data/Model-7B//", "Model-7B"},
      {"LlamaForCausalLM", std::string(200, 'x'), ""},
  };
  for (const auto& [family, path, name] : rows) {
    const auto parsed = Parse(With(family, {{"_name_or_path", path}}));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->name, name);
  }
}

TEST(DecoderConfig, IdsMayBeListsOrNone) {
  const auto parsed =
      Parse(With("LlamaForCausalLM", {{"bos_token_id", -1},
                                      {"eos_token_id", {7, 8}},
                                      {"pad_token_id", nullptr}}));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->bos, -1);
  EXPECT_EQ(parsed->eos, 7);
  EXPECT_EQ(parsed->pad, -1);
}

TEST(DecoderConfig, WrapperOfGemma3WithoutItsDefaults) {
  const auto parsed =
      Parse({{"architectures", {"Gemma3ForConditionalGeneration"}},
             {"eos_token_id", {1, 106}},
             {"text_config",
              {{"hidden_size", 2560},
               {"intermediate_size", 10240},
               {"num_hidden_layers", 34},
               {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
               {"sliding_window", 1024}}},
             {"vision_config", {{"hidden_size", 1152}}}});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->hidden, 2560);
  EXPECT_EQ(parsed->heads, 8);
  EXPECT_EQ(parsed->kv_heads, 4);
  EXPECT_EQ(parsed->head_dim, 256);
  EXPECT_EQ(parsed->context, 131072);
  EXPECT_EQ(parsed->sliding_window, 1024);
  EXPECT_EQ(parsed->rope.theta, 1e6);
  EXPECT_EQ(parsed->rope.local_theta, 10000);
  EXPECT_EQ(parsed->rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(parsed->rope.factor, 8);
  EXPECT_EQ(parsed->eos, 1);
}

TEST(DecoderConfig, RopeInOldAndNewForm) {
  const Json scaling = {{"rope_type", "llama3"},
                        {"factor", 32.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  Json parameters = scaling;
  parameters["rope_theta"] = 500000.0;
  const auto old_form =
      Parse(With("LlamaForCausalLM",
                 {{"rope_theta", 500000.0}, {"rope_scaling", scaling}}));
  const auto new_form =
      Parse(With("LlamaForCausalLM", {{"rope_parameters", parameters}}));
  for (const auto& parsed : {old_form, new_form}) {
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->rope.theta, 500000);
    EXPECT_EQ(parsed->rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(parsed->rope.factor, 32);
    EXPECT_EQ(parsed->rope.original_context, 8192);
  }
  // One per type of layer.
  const auto nested = Parse(
      With("Gemma3ForCausalLM",
           {{"rope_parameters",
             {{"full_attention",
               {{"rope_type", "linear"}, {"factor", 8}, {"rope_theta", 2e6}}},
              {"sliding_attention",
               {{"rope_type", "default"}, {"rope_theta", 5000}}}}}}));
  ASSERT_TRUE(nested.ok()) << nested.status();
  EXPECT_EQ(nested->rope.theta, 2e6);
  EXPECT_EQ(nested->rope.local_theta, 5000);
  EXPECT_EQ(nested->rope.scaling, RopeScaling::kLinear);
  // The key of older files.
  const auto legacy =
      Parse(With("Qwen2ForCausalLM",
                 {{"rope_scaling", {{"type", "yarn"}, {"factor", 4}}}}));
  EXPECT_EQ(legacy->rope.scaling, RopeScaling::kYarn);
  const auto dynamic =
      Parse(With("LlamaForCausalLM",
                 {{"rope_scaling", {{"type", "dynamic"}, {"factor", 4}}}}));
  EXPECT_EQ(dynamic->rope.scaling, RopeScaling::kNone);
}

TEST(DecoderConfig, LongRopeOfPhi3) {
  const Json scaling = {
      {"type", "su"}, {"long_factor", {1.5}}, {"short_factor", {1.25}}};
  const auto parsed =
      Parse(With("Phi3ForCausalLM", {{"rope_scaling", scaling},
                                     {"max_position_embeddings", 131072},
                                     {"original_max_position_embeddings", 4096},
                                     {"partial_rotary_factor", 0.5}}));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->rope.dims, 2);
  EXPECT_THAT(parsed->rope.long_factors, ElementsAre(1.5));
  // sqrt(1 + ln(32) / ln(4096)), as Phi-3-mini-128k has it.
  EXPECT_NEAR(RopeAttentionFactor(parsed->rope, parsed->context),
              1.1902380714238083, 1e-12);
  EXPECT_THAT(Parse(With("Phi3ForCausalLM", {{"rope_scaling", scaling}}))
                  .status()
                  .message(),
              HasSubstr("an array of 2 numbers above 0"));
  EXPECT_EQ(
      GetReason(Parse(With("LlamaForCausalLM", {{"rope_scaling", scaling}}))
                    .status()),
      Reason::kUnsupported);
}

TEST(DecoderConfig, Llama3FactorsAreThePublishedRule) {
  RopeConfig rope;
  rope.theta = 500000;
  rope.dims = 128;
  rope.factor = 8;
  rope.original_context = 8192;
  const std::vector<float> factors = Llama3FrequencyFactors(rope);
  ASSERT_EQ(factors.size(), 64u);
  for (int i = 0; i < 29; ++i) EXPECT_EQ(factors[i], 1) << i;
  const float blend[] = {1.2074839f, 1.5534146f, 2.0263132f,
                         2.6945297f, 3.6842525f, 5.2573266f};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(factors[29 + i], blend[i], 1e-6);
  for (int i = 35; i < 64; ++i) EXPECT_EQ(factors[i], 8) << i;
}

TEST(DecoderConfig, RefusesNumbersThatCanNotBe) {
  const std::pair<Json, const char*> rows[] = {
      {{{"num_hidden_layers", 0}}, "an integer from 1 to 512"},
      {{{"num_hidden_layers", 513}}, "an integer from 1 to 512"},
      {{{"num_hidden_layers", nullptr}}, "has no \"num_hidden_layers\""},
      {{{"num_hidden_layers", "2"}}, "is \"2\""},
      {{{"num_hidden_layers", 1.5}}, "is 1.5"},
      {{{"hidden_size", -16}}, "is -16"},
      {{{"hidden_size", 1e300}}, "hidden_size"},
      {{{"hidden_size", 18}}, "no multiple of num_attention_heads"},
      {{{"num_attention_heads", 3}, {"hidden_size", 12}},
       "no multiple of num_key_value_heads"},
      {{{"head_dim", 5}}, "an even number rotates"},
      {{{"head_dim", 16777216}}, "heads of 16777216"},
      {{{"rms_norm_eps", 0}}, "a number above 0"},
      {{{"rope_theta", -1}}, "a number above 0"},
      {{{"rope_scaling", 3}}, "an object"},
      {{{"rope_scaling", {{"type", "linear"}}}}, "rope_scaling.factor"},
      {{{"rope_scaling", {{"type", "llama3"}, {"low_freq_factor", 4}}}},
       "is not above low_freq_factor"},
      {{{"max_position_embeddings", 5000000000}}, "an integer from 1 to"},
      {{{"vocab_size", 1 << 30}}, "vocab_size"},
      {{{"tie_word_embeddings", 1}}, "true or false"},
      {{{"bos_token_id", "x"}}, "an integer, or a list"},
  };
  for (const auto& [patch, message] : rows) {
    const auto parsed = Parse(With("LlamaForCausalLM", patch));
    EXPECT_EQ(GetReason(parsed.status()), Reason::kModelMalformed) << patch;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
    EXPECT_LT(parsed.status().message().size(), 400u);
  }
  EXPECT_EQ(GetReason(ParseDecoderConfig("").status()), Reason::kSourceMissing);
  EXPECT_FALSE(ParseDecoderConfig("[]").ok());
  EXPECT_FALSE(ParseDecoderConfig("{}").ok());
  EXPECT_FALSE(
      Parse(With("MixtralForCausalLM", {{"num_experts_per_tok", 4}})).ok());
  EXPECT_FALSE(
      Parse(With("MixtralForCausalLM", {{"num_local_experts", 513}})).ok());
}

TEST(DecoderConfig, RefusesWhatLoadersComputeInAnotherWay) {
  const std::tuple<const char*, Json, const char*> rows[] = {
      {"LlamaForCausalLM", {{"hidden_act", "gelu"}}, "compute swish"},
      {"LlamaForCausalLM", {{"partial_rotary_factor", 0.5}}, "whole heads"},
      {"GemmaForCausalLM", {{"hidden_activation", "silu"}}, "gelu"},
      {"Qwen2MoeForCausalLM",
       {{"norm_topk_prob", true}},
       "as if it were false"},
      {"Qwen3MoeForCausalLM",
       {{"norm_topk_prob", false}},
       "as if it were true"},
      {"Gemma2ForCausalLM", {{"query_pre_attn_scalar", 16}}, "as if it were 8"},
      {"Gemma3ForCausalLM", {{"attn_logit_softcapping", 50.0}}, "have none"},
      {"Gemma3ForCausalLM", {{"sliding_window_pattern", 2}}, "as if it were 6"},
      {"Gemma3ForCausalLM",
       {{"layer_types", {"sliding_attention", "full_attention"}}},
       "layer_types[1] is not \"sliding_attention\""},
      {"Gemma2ForCausalLM",
       {{"layer_types", {"full_attention", "full_attention"}}},
       "layer_types[0] is not \"sliding_attention\""},
  };
  for (const auto& [name, patch, message] : rows) {
    const auto parsed = Parse(With(name, patch));
    EXPECT_EQ(GetReason(parsed.status()), Reason::kUnsupported) << patch;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(message));
  }
}

TEST(DecoderConfig, TakesTheWindowsThatLoadersHave) {
  const Json usual[] = {
      {{"layer_types", {"sliding_attention", "sliding_attention"}},
       {"sliding_window_pattern", 6}},
      {{"layer_types", nullptr}}};
  for (const Json& patch : usual) {
    EXPECT_TRUE(Parse(With("Gemma3ForCausalLM", patch)).ok()) << patch;
  }
  EXPECT_TRUE(
      Parse(With("Gemma2ForCausalLM",
                 {{"layer_types", {"sliding_attention", "full_attention"}}}))
          .ok());
  EXPECT_FALSE(
      Parse(With("Gemma2ForCausalLM", {{"layer_types", {"sliding_attention"}}}))
          .ok());
}

TEST(DecoderConfig, NamesTheNearestFamily) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["architectures"] = {"Qwen4ForCausalLM"};
  const auto parsed = Parse(config);
  EXPECT_EQ(GetReason(parsed.status()), Reason::kUnknownName);
  EXPECT_THAT(std::string(parsed.status().message()),
              HasSubstr("did you mean \"Qwen2ForCausalLM\""));
}

}  // namespace
}  // namespace quant

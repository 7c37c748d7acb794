#include "core/architecture/gguf_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_join.h"
#include "core/base/error.h"
#include "tests/core/architecture/fake_decoders.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Json = nlohmann::json;

absl::StatusOr<GgufMap> Map(const Json& config,
                            const std::vector<TensorEntry>& tensors) {
  const auto parsed = ParseDecoderConfig(config.dump());
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  if (!parsed.ok()) return parsed.status();
  return MapToGguf(*parsed, tensors);
}

absl::StatusOr<GgufMap> Map(const std::string& class_name,
                            bool stacked_experts = false) {
  const Json config = FakeConfig(class_name);
  return Map(config, FakeTensors(config, stacked_experts));
}

const GgufMapping& Find(const GgufMap& map, const std::string& name) {
  for (const GgufMapping& mapping : map.tensors) {
    if (mapping.name == name) return mapping;
  }
  static const GgufMapping none;
  ADD_FAILURE() << "no " << name;
  return none;
}

// Names without ".weight" and of block 0 only, as the file lists them.
std::string Names(const GgufMap& map) {
  std::vector<std::string> names;
  for (const GgufMapping& mapping : map.tensors) {
    std::string name = mapping.name;
    if (absl::StartsWith(name, "blk.1.")) continue;
    if (absl::StartsWith(name, "blk.0.")) name = name.substr(6);
    const size_t weight = name.rfind(".weight");
    if (weight != std::string::npos) name = name.substr(0, weight);
    names.push_back(name);
  }
  return absl::StrJoin(names, " ");
}

TEST(GgufNames, OfEveryFamily) {
  const std::pair<const char*, const char*> rows[] = {
      {"LlamaForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_output ffn_norm "
       "ffn_gate ffn_up ffn_down output_norm output"},
      {"MistralForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_output ffn_norm "
       "ffn_gate ffn_up ffn_down output_norm output"},
      {"MixtralForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_output ffn_norm "
       "ffn_gate_inp ffn_gate_exps ffn_up_exps ffn_down_exps output_norm "
       "output"},
      {"Qwen2ForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_q.bias attn_k.bias "
       "attn_v.bias attn_output ffn_norm ffn_gate ffn_up ffn_down output_norm "
       "output"},
      {"Qwen3ForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_q_norm attn_k_norm "
       "attn_output ffn_norm ffn_gate ffn_up ffn_down output_norm output"},
      {"Qwen2MoeForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_q.bias attn_k.bias "
       "attn_v.bias attn_output ffn_norm ffn_gate_inp ffn_gate_exps "
       "ffn_up_exps ffn_down_exps ffn_gate_inp_shexp ffn_gate_shexp "
       "ffn_up_shexp ffn_down_shexp output_norm output"},
      {"Qwen3MoeForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_q_norm attn_k_norm "
       "attn_output ffn_norm ffn_gate_inp ffn_gate_exps ffn_up_exps "
       "ffn_down_exps output_norm output"},
      {"GemmaForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_output ffn_norm "
       "ffn_gate ffn_up ffn_down output_norm"},
      {"Gemma2ForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_output "
       "post_attention_norm ffn_norm ffn_gate ffn_up ffn_down post_ffw_norm "
       "output_norm"},
      {"Gemma3ForCausalLM",
       "token_embd attn_norm attn_q attn_k attn_v attn_q_norm attn_k_norm "
       "attn_output post_attention_norm ffn_norm ffn_gate ffn_up ffn_down "
       "post_ffw_norm output_norm"},
      {"Phi3ForCausalLM",
       "token_embd attn_norm attn_qkv attn_output ffn_norm ffn_up ffn_down "
       "output_norm output"},
  };
  for (const auto& [class_name, names] : rows) {
    const auto map = Map(class_name);
    ASSERT_TRUE(map.ok()) << class_name << map.status();
    EXPECT_EQ(Names(*map), names) << class_name;
    EXPECT_THAT(map->dropped, IsEmpty());
    std::set<std::string> unique;
    for (const GgufMapping& mapping : map->tensors) {
      unique.insert(mapping.name);
      const bool one = mapping.shape.size() == 1;
      EXPECT_TRUE(!one || mapping.dtype == DType::kF32) << mapping.name;
    }
    EXPECT_EQ(unique.size(), map->tensors.size());
  }
}

TEST(GgufNames, LlamaPermutesQueriesAndKeysAlone) {
  const auto map = Map("LlamaForCausalLM");
  EXPECT_EQ(Find(*map, "blk.1.attn_q.weight").heads, 4);
  EXPECT_EQ(Find(*map, "blk.1.attn_k.weight").heads, 2);
  EXPECT_EQ(Find(*map, "blk.1.attn_v.weight").heads, 0);
  EXPECT_EQ(Find(*map, "blk.1.attn_q.weight").dtype, DType::kBF16);
  EXPECT_FALSE(Find(*map, "blk.1.attn_norm.weight").adds_one);
  const auto qwen = Map("Qwen2ForCausalLM");
  EXPECT_EQ(Find(*qwen, "blk.1.attn_q.weight").heads, 0);
  EXPECT_EQ(Find(*qwen, "blk.1.attn_q.bias").heads, 0);
}

TEST(GgufNames, BiasesOfLlamaArePermutedWithTheirRows) {
  const Json config = FakeConfig("LlamaForCausalLM");
  auto tensors = FakeTensors(config);
  tensors.push_back({.name = "model.layers.0.self_attn.q_proj.bias",
                     .dtype = DType::kBF16,
                     .shape = {16}});
  const auto map = Map(config, tensors);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(Find(*map, "blk.0.attn_q.bias").heads, 4);
  EXPECT_EQ(Find(*map, "blk.0.attn_q.bias").dtype, DType::kF32);
}

TEST(GgufNames, GemmaAddsOneToItsNorms) {
  const auto map = Map("Gemma3ForCausalLM");
  for (const GgufMapping& mapping : map->tensors) {
    EXPECT_EQ(mapping.adds_one, absl::EndsWith(mapping.name, "norm.weight"))
        << mapping.name;
  }
}

TEST(GgufNames, ExpertsAreStackedFromBothLayouts) {
  for (const char* class_name :
       {"MixtralForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM"}) {
    const auto single = Map(class_name);
    ASSERT_TRUE(single.ok()) << single.status();
    const GgufMapping& up = Find(*single, "blk.1.ffn_up_exps.weight");
    EXPECT_THAT(up.shape, ElementsAre(3, 6, 16));
    EXPECT_EQ(up.source, GgufSource::kStacked);
    EXPECT_THAT(up.tensors, SizeIs(3));
    EXPECT_THAT(Find(*single, "blk.1.ffn_down_exps.weight").shape,
                ElementsAre(3, 16, 6));
    EXPECT_EQ(Find(*single, "blk.0.ffn_gate_inp.weight").dtype, DType::kF32);
    const auto stacked = Map(class_name, true);
    ASSERT_TRUE(stacked.ok()) << stacked.status();
    EXPECT_EQ(Names(*stacked), Names(*single));
    const GgufMapping& gate = Find(*stacked, "blk.1.ffn_gate_exps.weight");
    EXPECT_THAT(gate.shape, ElementsAre(3, 6, 16));
    EXPECT_EQ(gate.source, GgufSource::kFirstHalf);
    EXPECT_EQ(Find(*stacked, "blk.1.ffn_up_exps.weight").source,
              GgufSource::kSecondHalf);
    EXPECT_EQ(Find(*stacked, "blk.1.ffn_up_exps.weight").tensors, gate.tensors);
  }
}

TEST(GgufNames, TiedOutputs) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["tie_word_embeddings"] = true;
  auto tensors = FakeTensors(config);
  EXPECT_THAT(Names(*Map(config, tensors)), Not(EndsWith(" output")));
  tensors.push_back(
      {.name = "lm_head.weight", .dtype = DType::kBF16, .shape = {11, 16}});
  const auto map = Map(config, tensors);
  ASSERT_THAT(map->dropped, SizeIs(1));
  EXPECT_EQ(map->dropped[0].name, "lm_head.weight");
  EXPECT_THAT(map->dropped[0].reason, HasSubstr("embedding"));
  // Not said, and not there: tied. Said, and not there: broken.
  tensors.pop_back();
  config.erase("tie_word_embeddings");
  EXPECT_TRUE(Map(config, tensors).ok());
  config["tie_word_embeddings"] = false;
  EXPECT_THAT(std::string(Map(config, tensors).status().message()),
              HasSubstr("lm_head.weight\" is missing"));
  // Loaders of qwen2moe want an output.
  Json moe = FakeConfig("Qwen2MoeForCausalLM");
  moe["tie_word_embeddings"] = true;
  const auto doubled = Map(moe, FakeTensors(moe));
  ASSERT_TRUE(doubled.ok()) << doubled.status();
  EXPECT_EQ(Find(*doubled, "output.weight").tensors,
            Find(*doubled, "token_embd.weight").tensors);
}

TEST(GgufNames, RopeFactorsAreGenerated) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", 8.0}};
  const auto map = Map(config, FakeTensors(config));
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->tensors[1].name, "rope_freqs.weight");
  EXPECT_THAT(map->tensors[1].values, SizeIs(2));
  EXPECT_THAT(map->tensors[1].shape, ElementsAre(2));
  Json phi = FakeConfig("Phi3ForCausalLM");
  phi["rope_scaling"] = {{"type", "longrope"},
                         {"long_factor", {2, 3}},
                         {"short_factor", {1, 1.5}}};
  const auto factors = Map(phi, FakeTensors(phi));
  ASSERT_TRUE(factors.ok()) << factors.status();
  EXPECT_THAT(Find(*factors, "rope_factors_long.weight").values,
              ElementsAre(2, 3));
  EXPECT_THAT(Find(*factors, "rope_factors_short.weight").values,
              ElementsAre(1, 1.5));
}

TEST(GgufNames, WrappersAreTakenOffAndOtherModelsDropped) {
  for (const char* wrapper :
       {"language_model.model.", "model.language_model."}) {
    const Json config = FakeConfig("Gemma3ForConditionalGeneration");
    auto tensors = FakeTensors(config);
    for (TensorEntry& tensor : tensors) {
      tensor.name = wrapper + tensor.name.substr(6);
    }
    tensors.push_back({.name = "vision_tower.encoder.x.weight",
                       .dtype = DType::kBF16,
                       .shape = {3, 3}});
    tensors.push_back({.name = "model.multi_modal_projector.y",
                       .dtype = DType::kI8,
                       .shape = {3}});
    const auto map = Map(config, tensors);
    ASSERT_TRUE(map.ok()) << map.status();
    EXPECT_THAT(map->dropped, SizeIs(2));
  }
  const Json config = FakeConfig("LlamaForCausalLM");
  auto tensors = FakeTensors(config);
  tensors.push_back({.name = "model.layers.0.self_attn.rotary_emb.inv_freq",
                     .dtype = DType::kF32,
                     .shape = {2}});
  EXPECT_THAT(Map(config, tensors)->dropped, SizeIs(1));
}

TEST(GgufNames, UnknownTensorsAreNamed) {
  const Json config = FakeConfig("LlamaForCausalLM");
  for (const char* name :
       {"model.layers.0.self_attn.q_norm.weight",
        "model.layers.2.mlp.up_proj.weight",
        "model.layers.00.mlp.up_proj.weight",
        "model.layers.N.mlp.up_proj.weight",
        "model.layers.-1.mlp.up_proj.weight", "x", "",
        "model.layers.99999999999999999999.mlp.up_proj.weight",
        "vision_tower.x", "model.layers.0.mlp.experts.0.up_proj.weight"}) {
    auto tensors = FakeTensors(config);
    tensors.push_back({.name = name, .dtype = DType::kBF16, .shape = {24, 16}});
    const auto map = Map(config, tensors);
    EXPECT_EQ(GetReason(map.status()), Reason::kUnsupported) << name;
    EXPECT_THAT(std::string(map.status().message()), HasSubstr(name));
  }
  const Json moe = FakeConfig("Qwen3MoeForCausalLM");
  for (const char* expert : {"3", "E", "03", "-1"}) {
    auto tensors = FakeTensors(moe);
    tensors.push_back({.name = absl::StrCat("model.layers.0.mlp.experts.",
                                            expert, ".up_proj.weight"),
                       .dtype = DType::kBF16,
                       .shape = {6, 16}});
    EXPECT_FALSE(Map(moe, tensors).ok()) << expert;
  }
}

TEST(GgufNames, MissingTensorsAreNamed) {
  for (const FamilyInfo& family : Families()) {
    const Json config = FakeConfig(std::string(family.class_name));
    const auto tensors = FakeTensors(config);
    for (size_t i = 0; i < tensors.size(); ++i) {
      auto fewer = tensors;
      fewer.erase(fewer.begin() + i);
      const auto map = Map(config, fewer);
      EXPECT_EQ(GetReason(map.status()), Reason::kModelMalformed);
      EXPECT_THAT(std::string(map.status().message()),
                  HasSubstr(tensors[i].name))
          << family.class_name;
    }
  }
}

TEST(GgufNames, ShapesAndTypesMustBeThoseOfTheConfig) {
  const Json config = FakeConfig("MixtralForCausalLM");
  const auto tensors = FakeTensors(config);
  for (size_t i = 0; i < tensors.size(); ++i) {
    auto wrong = tensors;
    wrong[i].shape.back() += 2;
    const auto map = Map(config, wrong);
    EXPECT_EQ(GetReason(map.status()), Reason::kModelMalformed);
    EXPECT_THAT(std::string(map.status().message()), HasSubstr("config.json"));
    wrong = tensors;
    wrong[i].dtype = DType::kI8;
    EXPECT_THAT(std::string(Map(config, wrong).status().message()),
                HasSubstr("has type I8"));
  }
  auto mixed = tensors;
  for (TensorEntry& tensor : mixed) {
    if (absl::StrContains(tensor.name, "experts.1.")) {
      tensor.dtype = DType::kF32;
    }
  }
  EXPECT_THAT(std::string(Map(config, mixed).status().message()),
              HasSubstr("other experts have BF16"));
}

TEST(GgufNames, TwoSourcesOfOneTensorAreRefused) {
  const Json config = FakeConfig("Qwen3MoeForCausalLM");
  auto tensors = FakeTensors(config);
  tensors.push_back({.name = "model.layers.0.mlp.experts.down_proj",
                     .dtype = DType::kBF16,
                     .shape = {3, 16, 6}});
  EXPECT_THAT(std::string(Map(config, tensors).status().message()),
              HasSubstr("second source of blk.0.ffn_down_exps"));
  tensors.pop_back();
  tensors.push_back(tensors.front());
  EXPECT_THAT(std::string(Map(config, tensors).status().message()),
              HasSubstr("second source"));
}

}  // namespace
}  // namespace quant

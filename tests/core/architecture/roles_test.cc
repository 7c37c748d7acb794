#include "core/architecture/roles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/architecture/model_config.h"
#include "core/base/error.h"

namespace quant {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

TensorRole Role(const std::string& name, Shape shape = {8, 8},
                DType dtype = DType::kBF16) {
  return RoleOf({.name = name, .dtype = dtype, .shape = std::move(shape)});
}

TEST(Roles, AreFoundByTheLastPartOfTheModule) {
  struct Row {
    const char* name;
    const char* role;
    ModuleClass module_class;
  };
  for (const Row& row : {
           Row{"model.layers.0.self_attn.q_proj.weight", "attention.q",
               ModuleClass::kLinear},
           Row{"model.layers.0.mlp.down_proj.weight", "mlp.down",
               ModuleClass::kLinear},
           Row{"model.layers.0.block_sparse_moe.experts.3.w2.weight",
               "mlp.down", ModuleClass::kLinear},
           Row{"model.layers.0.mlp.gate.weight", "router",
               ModuleClass::kRouter},
           Row{"model.embed_tokens.weight", "embedding",
               ModuleClass::kEmbedding},
           Row{"lm_head.weight", "lm_head", ModuleClass::kLmHead},
           Row{"model.layers.0.something_new.weight", "linear",
               ModuleClass::kLinear},
           Row{"transformer.h.0.attn.c_attn.weight", "conv1d",
               ModuleClass::kOther},
       }) {
    const TensorRole role = Role(row.name);
    EXPECT_EQ(role.role, row.role) << row.name;
    EXPECT_EQ(role.module_class, row.module_class) << row.name;
    EXPECT_TRUE(role.is_matrix) << row.name;
  }
}

TEST(Roles, NormsAndOtherThingsAreNotLinear) {
  EXPECT_EQ(Role("model.norm.weight", {8}).role, "norm");
  EXPECT_EQ(Role("model.layers.0.input_layernorm.weight", {8}).module_class,
            ModuleClass::kNorm);
  EXPECT_EQ(Role("h.0.ln_1.weight", {8}).module_class, ModuleClass::kNorm);
  // Even as a matrix.
  EXPECT_EQ(Role("x.q_norm.weight").module_class, ModuleClass::kNorm);
  EXPECT_EQ(Role("x.q_proj.bias", {8}).role, "bias");
  EXPECT_FALSE(Role("x.q_proj.bias", {8}).is_matrix);
  EXPECT_FALSE(Role("x.experts.weight", {2, 8, 8}).is_matrix);
  EXPECT_FALSE(Role("x.q_proj.weight", {8, 8}, DType::kI32).is_matrix);
  EXPECT_FALSE(Role("x.q_proj.weight", {8, 8}, DType::kF8E4M3).is_matrix);
}

TEST(Roles, NamesAreSplitAtTheLastDot) {
  const TensorRole role = Role("a.b.c");
  EXPECT_EQ(role.module, "a.b");
  EXPECT_EQ(role.leaf, "c");
  const TensorRole bare = Role("weight");
  EXPECT_EQ(bare.module, "");
  EXPECT_EQ(bare.leaf, "weight");
  EXPECT_EQ(Role("").leaf, "");
  EXPECT_EQ(Role(".").module, "");
}

TEST(Fused, PartsAreSiblingsInStackingOrder) {
  EXPECT_THAT(FusedWith("m.self_attn.v_proj"),
              ElementsAre("m.self_attn.q_proj", "m.self_attn.k_proj",
                          "m.self_attn.v_proj"));
  EXPECT_THAT(FusedWith("m.mlp.up_proj"),
              ElementsAre("m.mlp.gate_proj", "m.mlp.up_proj"));
  EXPECT_THAT(FusedWith("m.o_proj"), ElementsAre("m.o_proj"));
  EXPECT_THAT(FusedWith("q_proj"), ElementsAre("q_proj", "k_proj", "v_proj"));
  EXPECT_THAT(FusedWith(""), ElementsAre(""));
}

TEST(Roles, KnownNamesAreClassesAndRoles) {
  const std::vector<std::string> known = KnownRoles();
  for (const char* name : {"Linear", "LmHead", "attention.q", "norm", "bias"}) {
    EXPECT_THAT(known, Contains(name));
  }
}

TEST(ModelConfig, ReadsWhatMatters) {
  const auto config = ParseModelConfig(R"({
      "architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "torch_dtype": "bfloat16", "tie_word_embeddings": true, "other": [1]})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->model_type, "llama");
  EXPECT_EQ(config->torch_dtype, "bfloat16");
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_EQ(config->quant_method, "");
  EXPECT_EQ(ParseModelConfig(R"({"dtype": "float16"})")->torch_dtype,
            "float16");
  EXPECT_TRUE(ParseModelConfig("").ok());
}

TEST(ModelConfig, SeesEveryKindOfQuantization) {
  for (const char* text :
       {R"({"quantization_config": {"quant_method": "gptq"}})",
        R"({"compression_config": {"quant_method": "gptq"}})",
        R"({"text_config":
            {"quantization_config": {"quant_method": "gptq"}}})"}) {
    EXPECT_EQ(ParseModelConfig(text)->quant_method, "gptq") << text;
  }
  EXPECT_EQ(ParseModelConfig(R"({"quantization_config": {}})")->quant_method,
            "unknown");
  EXPECT_EQ(ParseModelConfig(R"({"quantization_config": null})")->quant_method,
            "");
}

TEST(ModelConfig, RefusesWhatIsNotAConfig) {
  for (const char* text : {"[]", "{", "null", R"({"model_type": 7})", "\xFF"}) {
    const auto config = ParseModelConfig(text);
    EXPECT_EQ(GetReason(config.status()), Reason::kModelMalformed) << text;
  }
}

}  // namespace
}  // namespace quant

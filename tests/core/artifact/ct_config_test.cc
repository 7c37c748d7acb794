// quantization_config, key by key: loaders reject unknown ones.
#include "core/artifact/ct_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/error.h"

namespace quant {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

// Modules of a small model; `schemes` by module name, absent: as it is.
struct Model {
  std::vector<TensorEntry> tensors;
  std::vector<QuantizedModule> modules;

  explicit Model(const std::map<std::string, std::string>& schemes) {
    for (const char* name :
         {"l.0.q_proj", "l.0.o_proj", "l.1.q_proj", "l.1.o_proj", "lm_head",
          "l.0.gate", "embed_tokens"}) {
      tensors.push_back({.name = std::string(name) + ".weight",
                         .dtype = DType::kBF16,
                         .shape = {256, 256}});
    }
    for (const TensorEntry& tensor : tensors) {
      QuantizedModule module{.role = RoleOf(tensor), .source = &tensor};
      const auto it = schemes.find(module.role.module);
      if (it != schemes.end()) {
        module.quantized = true;
        module.scheme = *FindScheme(it->second);
      }
      modules.push_back(module);
    }
  }
};

json ConfigOf(const std::map<std::string, std::string>& schemes) {
  const Model model(schemes);
  const auto text = CtConfig(R"({"model_type": "llama"})", model.modules);
  EXPECT_TRUE(text.ok()) << text.status();
  const json config = json::parse(*text);
  EXPECT_EQ(config["model_type"], "llama");
  return config["quantization_config"];
}

std::vector<std::string> Keys(const json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

std::map<std::string, std::string> AllLinears(const char* scheme) {
  return {{"l.0.q_proj", scheme},
          {"l.0.o_proj", scheme},
          {"l.1.q_proj", scheme},
          {"l.1.o_proj", scheme}};
}

TEST(CtConfig, HasExactlyTheKeysOfTheFormat) {
  for (const char* scheme : {"W4A16", "W4A16_ASYM", "W8A16", "W8A8",
                             "FP8_DYNAMIC", "FP8_BLOCK", "FP8A16"}) {
    const json config = ConfigOf(AllLinears(scheme));
    EXPECT_THAT(Keys(config),
                UnorderedElementsAre("config_groups", "format",
                                     "global_compression_ratio", "ignore",
                                     "kv_cache_scheme", "quant_method",
                                     "quantization_status", "sparsity_config",
                                     "transform_config", "version"));
    const json& group = config["config_groups"]["group_0"];
    EXPECT_THAT(Keys(group), UnorderedElementsAre("format", "input_activations",
                                                  "output_activations",
                                                  "targets", "weights"));
    for (const char* side : {"weights", "input_activations"}) {
      if (group[side].is_null()) continue;
      EXPECT_THAT(Keys(group[side]),
                  UnorderedElementsAre("actorder", "block_structure", "dynamic",
                                       "group_size", "num_bits", "observer",
                                       "observer_kwargs", "strategy",
                                       "symmetric", "type"));
    }
    EXPECT_EQ(config["quant_method"], "compressed-tensors");
    EXPECT_EQ(config["quantization_status"], "compressed");
    EXPECT_EQ(group["targets"], json::array({"Linear"}));
    EXPECT_EQ(group["output_activations"], nullptr);
  }
}

TEST(CtConfig, WeightsAndActivationsAreThoseOfThePreset) {
  const json w4 = ConfigOf(AllLinears("W4A16"));
  EXPECT_EQ(w4["format"], "pack-quantized");
  const json& weights = w4["config_groups"]["group_0"]["weights"];
  EXPECT_EQ(weights["num_bits"], 4);
  EXPECT_EQ(weights["type"], "int");
  EXPECT_EQ(weights["symmetric"], true);
  EXPECT_EQ(weights["strategy"], "group");
  EXPECT_EQ(weights["group_size"], 128);
  EXPECT_EQ(weights["block_structure"], nullptr);
  EXPECT_EQ(weights["dynamic"], false);
  EXPECT_EQ(w4["config_groups"]["group_0"]["input_activations"], nullptr);

  const json w8 = ConfigOf(AllLinears("W8A8"));
  EXPECT_EQ(w8["format"], "int-quantized");
  const json& int8 = w8["config_groups"]["group_0"];
  EXPECT_EQ(int8["weights"]["strategy"], "channel");
  EXPECT_EQ(int8["weights"]["group_size"], nullptr);
  EXPECT_EQ(int8["input_activations"]["strategy"], "token");
  EXPECT_EQ(int8["input_activations"]["dynamic"], true);
  EXPECT_EQ(int8["input_activations"]["observer"], nullptr);

  const json block = ConfigOf(AllLinears("FP8_BLOCK"));
  EXPECT_EQ(block["format"], "float-quantized");
  const json& fp8 = block["config_groups"]["group_0"];
  EXPECT_EQ(fp8["weights"]["strategy"], "block");
  EXPECT_EQ(fp8["weights"]["block_structure"], json::array({128, 128}));
  EXPECT_EQ(fp8["weights"]["type"], "float");
  EXPECT_EQ(fp8["input_activations"]["strategy"], "group");
  EXPECT_EQ(fp8["input_activations"]["group_size"], 128);

  EXPECT_EQ(ConfigOf(AllLinears("FP8_DYNAMIC"))["format"], "float-quantized");
  EXPECT_EQ(ConfigOf(AllLinears("FP8A16"))["format"], "naive-quantized");
}

TEST(CtConfig, WhatStaysIsIgnoredByExactName) {
  auto schemes = AllLinears("W4A16");
  schemes.erase("l.1.o_proj");
  // The embedding is no linear layer: loaders don't look for it.
  EXPECT_THAT(ConfigOf(schemes)["ignore"],
              ElementsAre("l.1.o_proj", "lm_head", "l.0.gate"));
}

TEST(CtConfig, MixedSchemesAreGroupsWithExactNames) {
  auto schemes = AllLinears("W4A16");
  schemes["l.1.o_proj"] = "FP8_DYNAMIC";
  schemes["lm_head"] = "W8A16";
  const json config = ConfigOf(schemes);
  EXPECT_EQ(config["format"], "mixed-precision");
  const json& groups = config["config_groups"];
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_THAT(groups["group_0"]["targets"], ElementsAre("Linear"));
  EXPECT_EQ(groups["group_0"]["format"], "pack-quantized");
  std::map<std::string, std::string> formats;
  for (const char* name : {"group_1", "group_2"}) {
    ASSERT_EQ(groups[name]["targets"].size(), 1u);
    formats[groups[name]["targets"][0]] = groups[name]["format"];
  }
  EXPECT_EQ(formats["l.1.o_proj"], "float-quantized");
  EXPECT_EQ(formats["lm_head"], "pack-quantized");
  // Two packed groups are one format.
  schemes["l.1.o_proj"] = "W4A16";
  EXPECT_EQ(ConfigOf(schemes)["format"], "pack-quantized");
  EXPECT_EQ(ConfigOf(schemes)["config_groups"]["group_0"]["format"], nullptr);
}

// lm_head is no "Linear" to loaders that match by class: it is named.
TEST(CtConfig, OtherClassesInTheBaseGroupAreNamed) {
  auto schemes = AllLinears("W4A16");
  schemes["lm_head"] = "W4A16";
  const json config = ConfigOf(schemes);
  EXPECT_THAT(config["config_groups"]["group_0"]["targets"],
              ElementsAre("Linear", "lm_head"));
  EXPECT_THAT(config["ignore"], ElementsAre("l.0.gate"));
}

TEST(CtConfig, ASourceThatIsNoConfigIsRefused) {
  const Model model(AllLinears("W4A16"));
  EXPECT_FALSE(CtConfig("[1]", model.modules).ok());
  EXPECT_TRUE(CtConfig("", model.modules).ok());
}

}  // namespace
}  // namespace quant

#include "core/network/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/error.h"

namespace quant {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Llama() {
  return Json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "vocab_size": 100,
    "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 4,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5})");
}

NetworkConfig Parsed(const Json& json) {
  auto config = ParseNetworkConfig(json.dump());
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *std::move(config) : NetworkConfig{};
}

TEST(NetworkConfig, FollowsFromTheKeys) {
  const NetworkConfig config = Parsed(Llama());
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.qkv_width(), 64 + 2 * 32);
  EXPECT_EQ(config.layers.size(), 4u);
  EXPECT_EQ(config.layers[0].window, 0);
  EXPECT_FALSE(config.tied);
  EXPECT_FLOAT_EQ(config.attention_scale, 0.35355339f);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_EQ(config.rope.dims, 8);
}

TEST(NetworkConfig, UnknownNamesAreAnsweredWithTheNearest) {
  Json json = Llama();
  json["architectures"] = {"Qwen3ForCausalML"};
  const absl::Status status = ParseNetworkConfig(json.dump()).status();
  EXPECT_EQ(GetReason(status), Reason::kUnknownName);
  EXPECT_THAT(status.message(), HasSubstr("did you mean \"Qwen3ForCausalLM\""));
  json = Llama();
  json["hidden_act"] = "relu";
  EXPECT_THAT(ParseNetworkConfig(json.dump()).status().message(),
              HasSubstr("silu"));
  json = Llama();
  json["rope_scaling"] = {{"rope_type", "yarm"}};
  EXPECT_THAT(ParseNetworkConfig(json.dump()).status().message(),
              HasSubstr("did you mean \"yarn\""));
}

TEST(NetworkConfig, WindowsBelongToLayers) {
  Json json = Llama();
  json["architectures"] = {"Gemma2ForCausalLM"};
  json["sliding_window"] = 16;
  NetworkConfig config = Parsed(json);
  EXPECT_EQ(config.layers[0].window, 16);
  EXPECT_EQ(config.layers[1].window, 0);
  EXPECT_TRUE(config.tied);
  json["architectures"] = {"Qwen2ForCausalLM"};
  EXPECT_EQ(Parsed(json).layers[3].window, 0);
  json["use_sliding_window"] = true;
  json["max_window_layers"] = 3;
  config = Parsed(json);
  EXPECT_EQ(config.layers[2].window, 0);
  EXPECT_EQ(config.layers[3].window, 16);
}

TEST(NetworkConfig, GemmaScalesEmbeddingsInItsOwnType) {
  Json json = Llama();
  json["architectures"] = {"Gemma2ForCausalLM"};
  json["hidden_size"] = 200;
  json["head_dim"] = 8;
  EXPECT_FLOAT_EQ(Parsed(json).embedding_scale, 14.142136f);
  json["torch_dtype"] = "bfloat16";
  EXPECT_EQ(Parsed(json).embedding_scale, 14.125f);
}

// Every key as every kind of nonsense: an error or a config, never a crash.
TEST(NetworkConfig, HostileValuesAreErrors) {
  const std::vector<Json> values = {-1,
                                    0,
                                    1e300,
                                    9223372036854775807LL,
                                    18446744073709551615ULL,
                                    "x",
                                    true,
                                    Json::array(),
                                    Json::object(),
                                    Json::array({Json::object()}),
                                    3.5};
  Json base = Llama();
  base["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 2}};
  base["head_dim"] = 8;
  for (const auto& [key, unused] : base.items()) {
    for (const Json& value : values) {
      Json json = base;
      json[key] = value;
      const auto config = ParseNetworkConfig(json.dump());
      if (config.ok()) continue;
      EXPECT_FALSE(config.status().message().empty()) << key << value;
    }
  }
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers",
                          "num_attention_heads", "intermediate_size"}) {
    for (const Json& value : values) {
      Json json = base;
      json[key] = value;
      const auto config = ParseNetworkConfig(json.dump());
      ASSERT_FALSE(config.ok()) << key << value;
      EXPECT_THAT(config.status().message(), HasSubstr(key));
    }
    Json json = base;
    json.erase(key);
    EXPECT_FALSE(ParseNetworkConfig(json.dump()).ok()) << key;
  }
  EXPECT_FALSE(ParseNetworkConfig("").ok());
  EXPECT_FALSE(ParseNetworkConfig("[]").ok());
}

}  // namespace
}  // namespace quant

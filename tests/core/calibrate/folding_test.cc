// Blocks of every architecture compute what they did when the columns of some
// weights are multiplied and what makes their inputs is divided.
#include "core/calibrate/folding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/calibrate/input_spaces.h"
#include "core/network/block.h"

namespace quant {
namespace {

constexpr int64_t kTokens = 12;

std::string Json(const std::string& family) {
  std::string more;
  if (family == "Mixtral" || family == "Qwen3Moe") {
    more = R"(, "num_local_experts": 3, "num_experts_per_tok": 2,
              "moe_intermediate_size": 20)";
  }
  return absl::StrCat(R"({"architectures": [")", family, R"(ForCausalLM"],
      "vocab_size": 16, "hidden_size": 24, "intermediate_size": 40,
      "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "head_dim": 6, "attention_bias": true,
      "mlp_bias": true, "max_position_embeddings": 64)",
                      more, "}");
}

class BlockMaker {
 public:
  explicit BlockMaker(const NetworkConfig& config) : config_(config) {}

  Block Make() {
    const bool fused = config_.traits.fused;
    const int64_t h = config_.hidden;
    const std::string attention = prefix_ + "self_attn.";
    Block block;
    block.attention_norm = Values(h, 1);
    block.mlp_norm = Values(h, 1);
    if (config_.traits.norms == NormStyle::kSandwich) {
      block.after_attention_norm = Values(h, 1);
      block.after_mlp_norm = Values(h, 1);
    }
    if (fused) {
      block.qkv = {Make(attention + "qkv_proj", config_.qkv_width(), h,
                        config_.qkv_bias)};
    } else {
      for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
        const bool q = name[0] == 'q';
        block.qkv.push_back(Make(attention + name,
                                 q ? config_.q_width() : config_.kv_width(), h,
                                 config_.qkv_bias));
      }
    }
    block.o = Make(attention + "o_proj", h, config_.q_width(), config_.o_bias);
    if (config_.traits.experts == ExpertNames::kNone) {
      block.mlps = {MakeMlp(prefix_ + "mlp.", "gate_proj", "up_proj",
                            "down_proj", config_.intermediate)};
      return block;
    }
    const bool mixtral = config_.traits.experts == ExpertNames::kMixtral;
    block.router = Make(prefix_ + "router", config_.experts, h, false);
    for (int64_t e = 0; e < config_.experts; ++e) {
      const std::string expert = absl::StrCat(
          prefix_, mixtral ? "block_sparse_moe.experts." : "mlp.experts.", e,
          ".");
      block.mlps.push_back(
          mixtral
              ? MakeMlp(expert, "w1", "w3", "w2", config_.expert_intermediate)
              : MakeMlp(expert, "gate_proj", "up_proj", "down_proj",
                        config_.expert_intermediate));
    }
    return block;
  }

 private:
  std::vector<float> Values(int64_t count, float middle) {
    std::normal_distribution<float> normal(middle, 0.3f);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    return values;
  }

  Linear Make(const std::string& name, int64_t out, int64_t in, bool bias) {
    Linear linear{.name = name, .out = out, .in = in};
    linear.weight = Values(out * in, 0);
    if (bias) linear.bias = Values(out, 0);
    return linear;
  }

  Mlp MakeMlp(const std::string& prefix, const char* gate, const char* up,
              const char* down, int64_t width) {
    const int64_t h = config_.hidden;
    const bool bias = config_.mlp_bias;
    Mlp mlp;
    if (config_.traits.fused) {
      mlp.gate_up = {Make(prefix + "gate_up_proj", 2 * width, h, bias)};
    } else {
      mlp.gate_up = {Make(prefix + gate, width, h, bias),
                     Make(prefix + up, width, h, bias)};
    }
    mlp.down = Make(prefix + down, h, width, bias);
    return mlp;
  }

  const NetworkConfig& config_;
  const std::string prefix_ = "model.layers.1.";
  std::mt19937 random_{4};
};

std::vector<float> RunOver(const Block& block, const NetworkConfig& config) {
  ThreadPool pool(1);
  const RopeTable rope = MakeRopeTable(config.rope, kTokens);
  BlockRun run{.pool = &pool,
               .config = &config,
               .layer = config.layers[1],
               .rope = &rope,
               .sequences = 1,
               .positions = kTokens};
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  std::vector<float> hidden(kTokens * config.hidden);
  for (float& value : hidden) value = normal(random);
  RunBlock(block, run, hidden.data());
  return hidden;
}

std::map<std::string, Linear*> LinearsOf(Block& block) {
  std::map<std::string, Linear*> linears;
  for (const InputSpace& space : InputSpacesOf(block)) {
    for (Linear* linear : space.linears) linears[linear->name] = linear;
  }
  return linears;
}

void Scale(const Fold& fold, Block& block) {
  auto linears = LinearsOf(block);
  std::vector<float>* norm = absl::EndsWith(fold.source, "input_layernorm")
                                 ? &block.attention_norm
                                 : &block.mlp_norm;
  const auto factor = [](int32_t row) { return 0.5f + (row * 7 % 11); };
  for (const std::string& reader : fold.readers) {
    Linear& linear = *linears.at(reader);
    ASSERT_EQ(fold.rows.size(), static_cast<size_t>(linear.in));
    for (int64_t i = 0; i < linear.out * linear.in; ++i) {
      linear.weight[i] *= factor(fold.rows[i % linear.in]);
    }
  }
  for (int32_t row : std::set<int32_t>(fold.rows.begin(), fold.rows.end())) {
    if (fold.is_norm) {
      (*norm)[row] /= factor(row);
      continue;
    }
    Linear& source = *linears.at(fold.source);
    for (int64_t i = 0; i < source.in; ++i) {
      source.weight[row * source.in + i] /= factor(row);
    }
    if (!source.bias.empty()) source.bias[row] /= factor(row);
  }
}

class FoldingTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FoldingTest, KeepsWhatTheBlockComputes) {
  const auto config = ParseNetworkConfig(Json(GetParam()));
  ASSERT_TRUE(config.ok()) << config.status();
  Block block = BlockMaker(*config).Make();
  const std::vector<float> before = RunOver(block, *config);
  const std::vector<InputSpace> spaces = InputSpacesOf(block);
  const std::vector<Fold> folds = FoldsOf(*config, 1);
  ASSERT_EQ(folds.size(), spaces.size());
  int scaled = 0;
  for (const Fold& fold : folds) {
    // As the network knows them: all that have these inputs, and no others.
    const bool is_a_space =
        std::any_of(spaces.begin(), spaces.end(), [&](const InputSpace& space) {
          std::vector<std::string> names;
          for (const Linear* l : space.linears) names.push_back(l->name);
          return names == fold.readers;
        });
    EXPECT_TRUE(is_a_space) << fold.readers.front();
    if (!fold.obstacle.empty()) continue;
    ++scaled;
    Scale(fold, block);
    const std::vector<float> after = RunOver(block, *config);
    for (size_t i = 0; i < before.size(); ++i) {
      // Sums of some dozen products of size 10 in float32.
      ASSERT_NEAR(after[i], before[i], 1e-3) << fold.readers.front();
    }
  }
  const bool sparse = config->experts > 0;
  EXPECT_EQ(scaled, sparse ? 2 + config->experts : 4);
}

INSTANTIATE_TEST_SUITE_P(Architectures, FoldingTest,
                         ::testing::Values("Llama", "Mistral", "Qwen2", "Qwen3",
                                           "Gemma2", "Phi3", "Mixtral",
                                           "Qwen3Moe"));

TEST(Folding, NormsThatAreStoredLessOneSaySo) {
  const auto config = ParseNetworkConfig(Json("Gemma2"));
  const std::vector<Fold> folds = FoldsOf(*config, 1);
  EXPECT_EQ(folds[2].source, "model.layers.1.pre_feedforward_layernorm");
  EXPECT_EQ(folds[2].norm_offset, 1);
  EXPECT_EQ(FoldsOf(*ParseNetworkConfig(Json("Llama")), 1)[2].norm_offset, 0);
}

TEST(Folding, HeadsThatReadOneValueHeadAreTied) {
  const auto config = ParseNetworkConfig(Json("Llama"));
  const std::vector<int32_t> rows = FoldsOf(*config, 0)[1].rows;
  ASSERT_EQ(rows.size(), 24u);
  EXPECT_EQ(rows[0], 0);
  EXPECT_EQ(rows[6], 0);   // head 1 reads values 0, too
  EXPECT_EQ(rows[12], 6);  // head 2 reads values 1
}

}  // namespace
}  // namespace quant

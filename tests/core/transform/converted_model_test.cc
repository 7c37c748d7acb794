#include "core/transform/converted_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/base/error.h"
#include "tests/core/architecture/fake_decoders.h"
#include "tests/core/transform/memory_model.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using Json = nlohmann::json;

struct Fixture {
  explicit Fixture(const Json& config, bool stacked = false,
                   DType dtype = DType::kBF16)
      : source(config, FakeTensors(config, stacked, dtype)) {
    auto created = ConvertedModel::Create(source);
    EXPECT_TRUE(created.ok()) << created.status();
    if (created.ok()) model = *std::move(created);
  }

  const TensorEntry& Entry(const std::string& name) const {
    for (const TensorEntry& tensor : model->tensors()) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << "no " << name;
    return model->tensors()[0];
  }

  std::vector<uint8_t> Bytes(const TensorEntry& entry) const {
    std::vector<uint8_t> bytes(entry.bytes);
    EXPECT_TRUE(model->Read(entry, 0, absl::MakeSpan(bytes)).ok());
    return bytes;
  }

  std::vector<float> Values(const std::string& name) const {
    const TensorEntry& entry = Entry(name);
    return MemoryModel::ToFloats(entry.dtype, Bytes(entry));
  }

  MemoryModel source;
  std::unique_ptr<ConvertedModel> model;
};

// The first column of each row of [rows, cols].
std::vector<float> Column(const std::vector<float>& values, int64_t cols) {
  std::vector<float> column;
  for (size_t i = 0; i < values.size(); i += cols) column.push_back(values[i]);
  return column;
}

TEST(ConvertedModel, PermutesRowsWithinHeads) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["num_attention_heads"] = 2;  // of 8 dimensions
  config["num_key_value_heads"] = 1;
  config["head_dim"] = 8;
  const Fixture fixture(config);
  const auto from = Column(
      fixture.source.Values("model.layers.0.self_attn.q_proj.weight"), 16);
  const auto to = Column(fixture.Values("blk.0.attn_q.weight"), 16);
  ASSERT_EQ(to.size(), 16u);
  const int order[] = {0, 4, 1, 5, 2, 6, 3, 7};
  for (int head = 0; head < 2; ++head) {
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(to[8 * head + i], from[8 * head + order[i]]);
    }
  }
  const auto k_from = Column(
      fixture.source.Values("model.layers.1.self_attn.k_proj.weight"), 16);
  const auto k_to = Column(fixture.Values("blk.1.attn_k.weight"), 16);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(k_to[i], k_from[order[i]]);
  EXPECT_EQ(fixture.Values("blk.0.attn_v.weight"),
            fixture.source.Values("model.layers.0.self_attn.v_proj.weight"));
}

TEST(ConvertedModel, PermutesBiasesLikeTheirRows) {
  const Json config = FakeConfig("LlamaForCausalLM");  // heads of 4
  auto tensors = FakeTensors(config);
  tensors.push_back({.name = "model.layers.0.self_attn.q_proj.bias",
                     .dtype = DType::kF16,
                     .shape = {16},
                     .bytes = 32});
  const MemoryModel source(config, tensors);
  const auto model = ConvertedModel::Create(source);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto from = source.Values("model.layers.0.self_attn.q_proj.bias");
  for (const TensorEntry& entry : (*model)->tensors()) {
    if (entry.name != "blk.0.attn_q.bias") continue;
    std::vector<uint8_t> bytes(entry.bytes);
    ASSERT_TRUE((*model)->Read(entry, 0, absl::MakeSpan(bytes)).ok());
    const auto to = MemoryModel::ToFloats(DType::kF32, bytes);
    for (int i = 0; i < 16; ++i) {
      const int order[] = {0, 2, 1, 3};
      EXPECT_EQ(to[i], from[i / 4 * 4 + order[i % 4]]);
    }
    return;
  }
  FAIL();
}

TEST(ConvertedModel, AddsOneToGemmasNormsInFloat32) {
  for (DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const Fixture fixture(FakeConfig("Gemma3ForCausalLM"), false, dtype);
    auto expected = fixture.source.Values("model.norm.weight");
    for (float& value : expected) value += 1;
    EXPECT_EQ(fixture.Values("output_norm.weight"), expected);
    EXPECT_EQ(fixture.Entry("blk.0.attn_q_norm.weight").dtype, DType::kF32);
    EXPECT_EQ(fixture.Values("blk.0.attn_q.weight"),
              fixture.source.Values("model.layers.0.self_attn.q_proj.weight"));
  }
  const Fixture llama(FakeConfig("LlamaForCausalLM"));
  EXPECT_EQ(llama.Values("output_norm.weight"),
            llama.source.Values("model.norm.weight"));
  EXPECT_EQ(llama.Entry("output_norm.weight").dtype, DType::kF32);
}

TEST(ConvertedModel, KeepsPhi3Fused) {
  const Fixture fixture(FakeConfig("Phi3ForCausalLM"));
  EXPECT_THAT(fixture.Entry("blk.0.attn_qkv.weight").shape,
              ElementsAre(32, 16));
  EXPECT_THAT(fixture.Entry("blk.0.ffn_up.weight").shape, ElementsAre(48, 16));
  EXPECT_EQ(fixture.Values("blk.1.ffn_up.weight"),
            fixture.source.Values("model.layers.1.mlp.gate_up_proj.weight"));
}

TEST(ConvertedModel, StacksExpertsOfBothLayouts) {
  for (const char* name : {"MixtralForCausalLM", "Qwen3MoeForCausalLM"}) {
    const bool mixtral = name[0] == 'M';
    const Fixture single{FakeConfig(name)};
    std::vector<float> expected;
    for (int e = 0; e < 3; ++e) {
      const auto part = single.source.Values(absl::StrCat(
          "model.layers.1.", mixtral ? "block_sparse_moe" : "mlp", ".experts.",
          e, mixtral ? ".w3.weight" : ".up_proj.weight"));
      expected.insert(expected.end(), part.begin(), part.end());
    }
    EXPECT_EQ(single.Values("blk.1.ffn_up_exps.weight"), expected);

    const Fixture stacked(FakeConfig(name), true);
    const auto both =
        stacked.source.Values("model.layers.1.mlp.experts.gate_up_proj");
    std::vector<float> gate, up;
    for (int e = 0; e < 3; ++e) {
      const auto at = both.begin() + e * 2 * 6 * 16;
      gate.insert(gate.end(), at, at + 6 * 16);
      up.insert(up.end(), at + 6 * 16, at + 2 * 6 * 16);
    }
    EXPECT_EQ(stacked.Values("blk.1.ffn_gate_exps.weight"), gate);
    EXPECT_EQ(stacked.Values("blk.1.ffn_up_exps.weight"), up);
    EXPECT_EQ(stacked.Values("blk.1.ffn_down_exps.weight"),
              stacked.source.Values("model.layers.1.mlp.experts.down_proj"));
  }
}

TEST(ConvertedModel, GeneratesRopeFactors) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["head_dim"] = 64;
  config["rope_theta"] = 500000;
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"original_max_position_embeddings", 8192}};
  const Fixture fixture(config);
  const auto factors = fixture.Values("rope_freqs.weight");
  ASSERT_EQ(factors.size(), 32u);
  EXPECT_EQ(factors[14], 1);
  EXPECT_NEAR(factors[15], 1.6513292, 1e-6);
  EXPECT_NEAR(factors[16], 3.2922621, 1e-6);
  EXPECT_NEAR(factors[17], 9.666729, 1e-5);
  EXPECT_EQ(factors[18], 32);
}

TEST(ConvertedModel, AnyRangeIsPartOfTheWhole) {
  std::mt19937 random(7);
  for (const FamilyInfo& family : Families()) {
    const std::string name(family.class_name);
    for (const bool stacked : {false, true}) {
      for (DType dtype : {DType::kBF16, DType::kF64}) {
        const Fixture fixture(FakeConfig(name), stacked, dtype);
        for (const TensorEntry& entry : fixture.model->tensors()) {
          const auto whole = fixture.Bytes(entry);
          const int64_t size = DTypeBits(entry.dtype) / 8;
          const int64_t elements = entry.bytes / size;
          for (int i = 0; i < 20; ++i) {
            const int64_t begin = random() % (elements + 1);
            const int64_t count = random() % (elements - begin + 1);
            std::vector<uint8_t> part(count * size);
            ASSERT_TRUE(
                fixture.model->Read(entry, begin * size, absl::MakeSpan(part))
                    .ok());
            EXPECT_TRUE(std::equal(part.begin(), part.end(),
                                   whole.begin() + begin * size))
                << name << " " << entry.name << " " << begin << " " << count;
          }
        }
      }
    }
  }
}

TEST(ConvertedModel, ListsSorted) {
  for (const FamilyInfo& family : Families()) {
    const Fixture fixture(FakeConfig(std::string(family.class_name)));
    const auto& tensors = fixture.model->tensors();
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_TRUE(i == 0 || tensors[i - 1].name < tensors[i].name);
      EXPECT_EQ(tensors[i].bytes,
                *TensorBytes(tensors[i].dtype, tensors[i].shape));
    }
  }
}

TEST(ConvertedModel, CarriesTheKeysOfConfigAndTokenizer) {
  const Fixture fixture(FakeConfig("Qwen2ForCausalLM"));
  const auto kvs = fixture.model->kvs();
  EXPECT_EQ(*GetGguf<std::string>(kvs, "general.architecture"), "qwen2");
  EXPECT_EQ(*GetGguf<uint32_t>(kvs, "qwen2.block_count"), 2u);
  // As many as the embedding has rows.
  EXPECT_EQ((*GetGgufArray<std::string>(kvs, "tokenizer.ggml.tokens"))->size(),
            11u);
}

TEST(ConvertedModel, RefusesReadsOutsideAndBetweenElements) {
  const Fixture fixture(FakeConfig("LlamaForCausalLM"));
  const TensorEntry& entry = fixture.Entry("blk.0.attn_q.weight");
  std::vector<uint8_t> bytes(4);
  for (int64_t begin :
       {int64_t{-2}, int64_t{1}, entry.bytes - 2, entry.bytes + 2}) {
    EXPECT_EQ(
        GetReason(fixture.model->Read(entry, begin, absl::MakeSpan(bytes))),
        Reason::kInternal)
        << begin;
  }
  TensorEntry other = entry;
  other.name = "zzz";
  EXPECT_FALSE(fixture.model->Read(other, 0, absl::MakeSpan(bytes)).ok());
}

}  // namespace
}  // namespace quant

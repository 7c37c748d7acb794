// A checkpoint that became a GGUF model and is shown as a checkpoint again.
#include "core/transform/restored_model.h"

#include <gtest/gtest.h>

#include <random>

#include "core/base/error.h"
#include "core/transform/converted_model.h"
#include "tests/core/architecture/fake_decoders.h"
#include "tests/core/transform/memory_model.h"

namespace quant {
namespace {

using Json = nlohmann::json;

const char* const kClasses[] = {
    "LlamaForCausalLM",    "MistralForCausalLM", "MixtralForCausalLM",
    "Qwen2ForCausalLM",    "Qwen3ForCausalLM",   "Qwen2MoeForCausalLM",
    "Qwen3MoeForCausalLM", "GemmaForCausalLM",   "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",   "Phi3ForCausalLM"};

struct Fixture {
  Fixture(const Json& config, std::vector<TensorEntry> tensors)
      : source(config, std::move(tensors)) {
    auto created = ConvertedModel::Create(source);
    EXPECT_TRUE(created.ok()) << created.status();
    if (!created.ok()) return;
    converted = *std::move(created);
    auto back = RestoredModel::Create(*converted);
    EXPECT_TRUE(back.ok()) << back.status();
    if (back.ok()) model = *std::move(back);
  }
  explicit Fixture(const Json& config, DType dtype = DType::kBF16)
      : Fixture(config, FakeTensors(config, false, dtype)) {}

  MemoryModel source;
  std::unique_ptr<ConvertedModel> converted;
  std::unique_ptr<RestoredModel> model;
};

std::vector<uint8_t> BytesOf(const ModelReader& model,
                             const TensorEntry& entry) {
  std::vector<uint8_t> bytes(entry.bytes);
  EXPECT_TRUE(model.Read(entry, 0, absl::MakeSpan(bytes)).ok()) << entry.name;
  return bytes;
}

TEST(RestoredModel, HasTheTensorsOfEveryFamily) {
  for (const char* name : kClasses) {
    SCOPED_TRACE(name);
    const Fixture fixture(FakeConfig(name));
    ASSERT_NE(fixture.model, nullptr);
    const auto& tensors = fixture.model->tensors();
    ASSERT_EQ(tensors.size(), fixture.source.tensors().size());
    EXPECT_TRUE(fixture.model->notes().empty());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const TensorEntry& entry = tensors[i];
      EXPECT_EQ(entry.name, fixture.source.tensors()[i].name);
      EXPECT_EQ(entry.shape, fixture.source.tensors()[i].shape) << entry.name;
      EXPECT_EQ(
          MemoryModel::ToFloats(entry.dtype, BytesOf(*fixture.model, entry)),
          fixture.source.Values(entry.name))
          << entry.name;
      if (entry.dtype != DType::kF32) {
        EXPECT_EQ(entry.dtype, DType::kBF16) << entry.name;
      }
    }
  }
}

TEST(RestoredModel, AnyRangeIsThatPartOfTheWhole) {
  std::mt19937 random(7);
  for (const char* name :
       {"LlamaForCausalLM", "MixtralForCausalLM", "Gemma2ForCausalLM"}) {
    const Fixture fixture(FakeConfig(name), DType::kF32);
    ASSERT_NE(fixture.model, nullptr);
    for (const TensorEntry& entry : fixture.model->tensors()) {
      const std::vector<uint8_t> whole = BytesOf(*fixture.model, entry);
      const int64_t elements = entry.bytes / 4;
      for (int k = 0; k < 20; ++k) {
        const int64_t begin = random() % (elements + 1);
        const int64_t count = random() % (elements - begin + 1);
        std::vector<uint8_t> part(4 * count);
        ASSERT_TRUE(
            fixture.model->Read(entry, 4 * begin, absl::MakeSpan(part)).ok());
        ASSERT_TRUE(
            std::equal(part.begin(), part.end(), whole.begin() + 4 * begin))
            << entry.name << " from " << begin << ", " << count;
      }
    }
  }
}

TEST(RestoredModel, RefusesRangesThatAreNone) {
  const Fixture fixture(FakeConfig("LlamaForCausalLM"));
  const TensorEntry& entry = fixture.model->tensors()[0];
  std::vector<uint8_t> out(4);
  const auto read = [&](int64_t begin) {
    return fixture.model->Read(entry, begin, absl::MakeSpan(out)).ok();
  };
  EXPECT_TRUE(read(entry.bytes - 4));
  EXPECT_FALSE(read(entry.bytes - 2));
  EXPECT_FALSE(read(-4));
  EXPECT_FALSE(read(1));
  TensorEntry stranger = entry;
  stranger.name = "nobody";
  EXPECT_FALSE(fixture.model->Read(stranger, 0, absl::MakeSpan(out)).ok());
}

TEST(RestoredModel, PermutesBiasesBack) {
  Json config = FakeConfig("LlamaForCausalLM");
  config["attention_bias"] = true;
  std::vector<TensorEntry> tensors = FakeTensors(config);
  for (int layer : {0, 1}) {
    for (const char* part : {"q", "k", "v", "o"}) {
      const int64_t size = *part == 'q' || *part == 'o' ? 16 : 8;
      tensors.push_back(
          {.name = absl::StrCat("model.layers.", layer, ".self_attn.", part,
                                "_proj.bias"),
           .dtype = DType::kF32,
           .shape = {size},
           .bytes = 4 * size});
    }
  }
  const Fixture fixture(config, tensors);
  ASSERT_NE(fixture.model, nullptr);
  EXPECT_TRUE(Json::parse(fixture.model->config_json())["attention_bias"]);
  for (const TensorEntry& entry : fixture.model->tensors()) {
    EXPECT_EQ(
        MemoryModel::ToFloats(entry.dtype, BytesOf(*fixture.model, entry)),
        fixture.source.Values(entry.name))
        << entry.name;
  }
}

TEST(RestoredModel, ATokenizerThatIsThereGoesBeforeAMadeOne) {
  const Fixture fixture(FakeConfig("Qwen2ForCausalLM"));
  ASSERT_EQ(fixture.model->side_files().size(), 1u);
  EXPECT_EQ(fixture.model->side_files()[0].name, "tokenizer.json");
  EXPECT_TRUE(fixture.model->made_files().empty());
}

}  // namespace
}  // namespace quant

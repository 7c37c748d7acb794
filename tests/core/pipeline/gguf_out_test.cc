// GGUF models as sources of every other output.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <list>
#include <stop_token>

#include "core/artifact/format.h"
#include "core/base/error.h"
#include "core/tensor/float_formats.h"
#include "tests/core/architecture/fake_decoders.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using Json = nlohmann::json;

const char* const kClasses[] = {
    "LlamaForCausalLM",    "MistralForCausalLM", "MixtralForCausalLM",
    "Qwen2ForCausalLM",    "Qwen3ForCausalLM",   "Qwen2MoeForCausalLM",
    "Qwen3MoeForCausalLM", "GemmaForCausalLM",   "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",   "Phi3ForCausalLM"};

// Keys of config.json that say what a model computes, where a class has them.
const char* const kFields[] = {"vocab_size",
                               "hidden_size",
                               "intermediate_size",
                               "num_hidden_layers",
                               "num_attention_heads",
                               "num_key_value_heads",
                               "head_dim",
                               "max_position_embeddings",
                               "rms_norm_eps",
                               "rope_theta",
                               "rope_scaling",
                               "tie_word_embeddings",
                               "hidden_activation",
                               "query_pre_attn_scalar",
                               "sliding_window",
                               "num_local_experts",
                               "num_experts",
                               "num_experts_per_tok",
                               "moe_intermediate_size",
                               "shared_expert_intermediate_size",
                               "norm_topk_prob"};

// Without what FakeConfig says too much.
Json ConfigOf(const std::string& name) {
  Json config = FakeConfig(name);
  config["rope_theta"] = 25000.0;
  if (name == "GemmaForCausalLM") {
    config.erase("query_pre_attn_scalar");
    config.erase("sliding_window");
  }
  if (name == "Qwen3MoeForCausalLM") {
    config.erase("shared_expert_intermediate_size");
  }
  return config;
}

// The bits of `value` in a type.
uint32_t BitsOf(DType dtype, float value) {
  if (dtype == DType::kF16) return F32ToF16(value);
  if (dtype == DType::kBF16) return F32ToBf16(value);
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

class GgufOut : public ::testing::Test {
 protected:
  // A random checkpoint. With `exact`, one can be added to norms in float32.
  std::string WriteCheckpoint(const Json& config, DType dtype,
                              bool exact = true) {
    const std::string directory = works_.emplace_back() / "model";
    std::vector<TensorSpec> specs;
    for (const TensorEntry& tensor : FakeTensors(config, false, dtype)) {
      specs.push_back({tensor.name, tensor.shape, dtype});
    }
    WriteModel(directory, specs, 1, config.dump());
    WriteAll(directory + "/tokenizer.json", FakeTokenizerJson());
    for (const TensorSpec& spec : specs) {
      if (!exact || spec.name.find("norm.weight") == std::string::npos) {
        continue;
      }
      for (int64_t i = 0; i < spec.shape[0]; ++i) {
        const float value = static_cast<float>(i % 7 - 3) / 64;
        PatchElement(directory, spec.name, i, BitsOf(dtype, value));
      }
    }
    return directory;
  }

  std::string Make(const std::string& source, OutputRequest request,
                   int threads = 2) {
    TempDir& work = works_.emplace_back();
    request.max_shard_bytes = std::numeric_limits<int64_t>::max();
    const auto result =
        RunPipeline(source, {.outputs = {request}}, work.path(), threads);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->outputs[0].directory : "";
  }

  std::string ThroughGguf(const std::string& source, const char* gguf,
                          const char* back) {
    return Make(Make(source, Request(gguf, "gguf")),
                Request(back, "safetensors"));
  }

  std::list<TempDir> works_;
};

std::vector<uint8_t> BytesOf(const ModelReader& model,
                             const TensorEntry& entry) {
  std::vector<uint8_t> bytes(entry.bytes);
  EXPECT_TRUE(model.Read(entry, 0, absl::MakeSpan(bytes)).ok()) << entry.name;
  return bytes;
}

void ExpectSameTensors(const std::string& left, const std::string& right) {
  const auto a = OpenModel(left), b = OpenModel(right);
  ASSERT_TRUE(a.ok()) << a.status();
  ASSERT_TRUE(b.ok()) << b.status();
  ASSERT_EQ((*a)->tensors().size(), (*b)->tensors().size());
  for (size_t i = 0; i < (*a)->tensors().size(); ++i) {
    const TensorEntry& x = (*a)->tensors()[i];
    const TensorEntry& y = (*b)->tensors()[i];
    ASSERT_EQ(x.name, y.name);
    ASSERT_EQ(x.dtype, y.dtype) << x.name;
    ASSERT_EQ(x.shape, y.shape) << x.name;
    ASSERT_EQ(BytesOf(**a, x), BytesOf(**b, y)) << x.name;
  }
}

TEST_F(GgufOut, TensorsOfEveryFamilyComeBackByteByByte) {
  const std::pair<DType, const char*> types[] = {
      {DType::kF32, "F32"}, {DType::kF16, "F16"}, {DType::kBF16, "BF16"}};
  for (const char* name : kClasses) {
    for (const auto& [dtype, scheme] : types) {
      SCOPED_TRACE(absl::StrCat(name, " ", scheme));
      const std::string source = WriteCheckpoint(ConfigOf(name), dtype);
      ASSERT_NO_FATAL_FAILURE(
          ExpectSameTensors(source, ThroughGguf(source, scheme, scheme)));
      if (dtype == DType::kF32) continue;
      ASSERT_NO_FATAL_FAILURE(
          ExpectSameTensors(source, ThroughGguf(source, "F32", scheme)));
    }
  }
}

TEST_F(GgufOut, ConfigsOfEveryFamilyComeBack) {
  for (const char* name : kClasses) {
    SCOPED_TRACE(name);
    Json config = ConfigOf(name);
    const std::string source = WriteCheckpoint(config, DType::kBF16);
    const std::string back = ThroughGguf(source, "BF16", "BF16");
    const Json found = Json::parse(ReadAll(back + "/config.json"));
    for (const char* field : kFields) {
      if (!config.contains(field)) continue;
      ASSERT_TRUE(found.contains(field)) << field;
      EXPECT_EQ(found[field], config[field]) << field;
    }
    // Files don't say which of the two it was, and they compute the same.
    const std::string same =
        std::string(name) == "MistralForCausalLM" ? "LlamaForCausalLM" : name;
    EXPECT_EQ(found["architectures"], Json({same}));
    EXPECT_EQ(found["torch_dtype"], "bfloat16");
    EXPECT_FALSE(found["model_type"].get<std::string>().empty());
  }
}

TEST_F(GgufOut, WhatBecameACheckpointBecomesTheSameFileAgain) {
  for (const char* name : kClasses) {
    SCOPED_TRACE(name);
    const std::string source = WriteCheckpoint(ConfigOf(name), DType::kF32);
    const std::string file = Make(source, Request("F32", "gguf"));
    const std::string back = Make(file, Request("F32", "safetensors"));
    const std::string again = Make(back, Request("F32", "gguf"));
    EXPECT_TRUE(ReadTree(file)["model-F32.gguf"] ==
                ReadTree(again)["model-F32.gguf"]);
  }
}

// 1 + w is rounded to float32 in the file.
TEST_F(GgufOut, NormsOfGemmaComeBackAsFarAsTheFileHasThem) {
  const std::string source = WriteCheckpoint(ConfigOf("Gemma2ForCausalLM"),
                                             DType::kF32, /*exact=*/false);
  const auto a = OpenModel(source);
  const auto b = OpenModel(ThroughGguf(source, "F32", "F32"));
  ASSERT_TRUE(b.ok()) << b.status();
  int64_t different = 0;
  for (size_t i = 0; i < (*a)->tensors().size(); ++i) {
    const TensorEntry& entry = (*a)->tensors()[i];
    const auto left = BytesOf(**a, entry);
    const auto right = BytesOf(**b, (*b)->tensors()[i]);
    if (entry.name.find("norm") == std::string::npos) {
      EXPECT_EQ(left, right) << entry.name;
      continue;
    }
    for (size_t at = 0; at < left.size(); at += 4) {
      float x, y;
      std::memcpy(&x, &left[at], 4);
      std::memcpy(&y, &right[at], 4);
      EXPECT_LE(std::abs(x - y), std::ldexp(1.0f, -24)) << entry.name;
      different += x != y;
    }
  }
  EXPECT_GT(different, 0);
}

TEST_F(GgufOut, EveryFormatTakesAFileLikeTheCheckpoint) {
  const std::string model = RealModels()[0];
  const std::string file = Make(model, Request("BF16", "gguf"));
  for (const char* format : {"compressed-tensors", "gptq", "awq"}) {
    SCOPED_TRACE(format);
    const OutputRequest request = Request("W4A16", format);
    const auto plan = PlanModel(file, {request});
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::string direct = Make(model, request);
    const std::string late = Make(file, request);
    const auto a = OpenModel(direct), b = OpenModel(late);
    ASSERT_TRUE(a.ok() && b.ok());
    ASSERT_EQ((*a)->tensors().size(), (*b)->tensors().size());
    for (size_t i = 0; i < (*a)->tensors().size(); ++i) {
      const TensorEntry& x = (*a)->tensors()[i];
      const TensorEntry& y = (*b)->tensors()[i];
      ASSERT_EQ(x.name, y.name);
      // Files store norms as F32.
      if (x.name.find("norm") != std::string::npos) continue;
      EXPECT_EQ(BytesOf(**a, x), BytesOf(**b, y)) << x.name;
    }
  }
}

TEST_F(GgufOut, PlansAreExactAtAnyThreadCount) {
  const std::string file = Make(RealModels()[0], Request("Q8_0", "gguf"));
  OutputRequest request = Request("W4A16");
  request.allow_requantize = true;
  const std::vector<OutputRequest> requests = {request,
                                               Request("BF16", "safetensors")};
  const auto plan = PlanModel(file, {requests[0]});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(plan->notes.empty()) << plan->notes[0];
  const auto one = ReadTree(Make(file, requests[0], 1));
  EXPECT_TRUE(one == ReadTree(Make(file, requests[0], 3)));
  ASSERT_EQ(one.size(), plan->outputs[0].files.size());
  for (const PlannedFile& planned : plan->outputs[0].files) {
    ASSERT_TRUE(one.count(planned.path)) << planned.path;
    EXPECT_EQ(static_cast<int64_t>(one.at(planned.path).size()),
              planned.size_bytes)
        << planned.path;
  }
  EXPECT_TRUE(ReadTree(Make(file, requests[1], 1)) ==
              ReadTree(Make(file, requests[1], 3)));
}

TEST_F(GgufOut, WorkThatIsStoppedGoesOn) {
  const std::string file = Make(RealModels()[0], Request("Q4_0", "gguf"));
  OutputRequest request = Request("W4A16");
  request.allow_requantize = true;
  const PlanRequest all{.outputs = {request}};
  TempDir& undisturbed = works_.emplace_back();
  ASSERT_TRUE(RunPipeline(file, all, undisturbed.path()).ok());
  TempDir& work = works_.emplace_back();
  int64_t stops = 0;
  while (true) {
    std::stop_source stop;
    ExecuteOptions options;
    options.stop = stop.get_token();
    options.journal = [&](int64_t tensors) {
      if (tensors % 8 == 0) stop.request_stop();
    };
    const auto result = RunPipeline(file, all, work.path(), 2, options);
    if (result.ok()) {
      EXPECT_GT(result->tensors_resumed, 0);
      break;
    }
    ASSERT_EQ(result.status().code(), absl::StatusCode::kCancelled);
    ASSERT_LT(++stops, 100) << "no progress";
  }
  EXPECT_GT(stops, 1);
  EXPECT_TRUE(ReadTree(work / "outputs") == ReadTree(undisturbed / "outputs"));
}

TEST_F(GgufOut, CodesAreRequantizedOnlyWhenAllowed) {
  const std::string file = Make(RealModels()[0], Request("Q4_K_M", "gguf"));
  OutputRequest request = Request("W4A16");
  const auto refused = PlanModel(file, {request});
  EXPECT_EQ(GetReason(refused.status()), Reason::kPlanRefused);
  EXPECT_NE(refused.status().message().find("allow to requantize"),
            std::string::npos);
  request.allow_requantize = true;
  EXPECT_TRUE(PlanModel(file, {request}).ok());
  // Values are free: nothing more is lost.
  EXPECT_TRUE(PlanModel(file, {Request("BF16", "safetensors")}).ok());
}

TEST_F(GgufOut, SplitFilesBecomeTheSameCheckpoint) {
  const std::string model = RealModels()[0];
  OutputRequest request = Request("Q8_0", "gguf");
  const std::string whole = Make(model, request);
  request.max_shard_bytes = 500'000;
  TempDir& work = works_.emplace_back();
  const auto split = RunPipeline(model, {.outputs = {request}}, work.path());
  ASSERT_TRUE(split.ok()) << split.status();
  ASSERT_GT(split->outputs[0].files.size(), 4u);
  const OutputRequest back = Request("F32", "safetensors");
  ExpectSameTensors(Make(whole, back), Make(split->outputs[0].directory, back));
}

TEST_F(GgufOut, FamiliesThatAreNotKnownStayGguf) {
  const std::string file = Make(RealModels()[0], Request("F16", "gguf"));
  std::string bytes = ReadTree(file)["model-F16.gguf"];
  // "llama" is the first text of that length behind its key.
  const size_t at = bytes.find("llama", bytes.find("general.architecture"));
  bytes.replace(at, 5, "llamo");
  TempDir& other = works_.emplace_back();
  WriteAll(other / "m.gguf", bytes);
  const auto plan = PlanModel(other / "m.gguf", {Request("W4A16")});
  EXPECT_EQ(GetReason(plan.status()), Reason::kUnknownName) << plan.status();
  EXPECT_NE(plan.status().message().find("did you mean \"llama\""),
            std::string::npos)
      << plan.status();
  EXPECT_NE(plan.status().message().find("format \"gguf\""), std::string::npos);
  EXPECT_EQ(GetField(plan.status()), "outputs[0].recipe.format");
}

}  // namespace
}  // namespace quant

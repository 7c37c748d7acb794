// Plans for a loader: what it won't take is refused before any work.
#include "core/artifact/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class PlanForLoader : public ::testing::Test {
 protected:
  void SetUp() override { WriteModel(model_, LlamaTensors(256, 512)); }

  static OutputRequest For(const char* loader, const char* scheme,
                           const char* format = "compressed-tensors") {
    OutputRequest request = Request(scheme, format);
    request.loader.name = loader;
    return request;
  }

  // The refusal; empty when there is none.
  std::string Refusal(const OutputRequest& request, absl::StatusCode code,
                      const std::string& field = "") {
    const auto plan = PlanModel(model_, {request});
    EXPECT_EQ(plan.status().code(), code) << plan.status();
    if (!field.empty()) {
      EXPECT_EQ(GetField(plan.status()), field);
    }
    return std::string(plan.status().message());
  }

  std::string Misfit(const OutputRequest& request) {
    return Refusal(request, absl::StatusCode::kFailedPrecondition);
  }

  TempDir dir_;
  const std::string model_ = dir_ / "model";
};

TEST_F(PlanForLoader, SchemesAndRulesAreCheckedBeforeTheModel) {
  EXPECT_THAT(
      Refusal(For("tensorrt-llm", "W4A16"), absl::StatusCode::kInvalidArgument,
              "outputs[0].recipe.scheme"),
      HasSubstr("MXFP4A16"));
  OutputRequest rule = For("tgi", "W4A16");
  rule.rules = {{"mlp.up", std::nullopt},
                {"mlp.gate", std::nullopt},
                {"mlp.down", *FindScheme("FP8A16")}};
  EXPECT_THAT(Refusal(rule, absl::StatusCode::kInvalidArgument,
                      "outputs[0].recipe.rules[2].scheme"),
              HasSubstr("\"FP8A16\""));
  const auto second =
      PlanModel(model_, {Request("W4A16"), For("vlm", "W4A16")});
  EXPECT_EQ(GetField(second.status()), "outputs[1].recipe.loader");
}

TEST_F(PlanForLoader, TakenSchemesArePlannedAsWithoutOneAndHaveNotes) {
  const auto plain = PlanModel(model_, {Request("W4A16")});
  const auto plan = PlanModel(model_, {For("vllm", "W4A16")});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->outputs[0].bits_per_weight,
            plain->outputs[0].bits_per_weight);
  EXPECT_TRUE(plain->outputs[0].loader_notes.empty());
  ASSERT_EQ(plan->outputs[0].loader_notes.size(), 1u);
  EXPECT_THAT(plan->outputs[0].loader_notes[0].note, HasSubstr("7.5"));
}

TEST_F(PlanForLoader, HeadsEmbeddingsAndRoutersNeedARow) {
  OutputRequest head = For("vllm", "W4A16");
  head.rules = {{"lm_head", *FindScheme("W8A16")}};
  const std::string why = Misfit(head);
  EXPECT_THAT(why, HasSubstr("lm_head.weight"));
  EXPECT_THAT(why, HasSubstr("leave it as it is"));
  head.on_mismatch = OnMismatch::kSkip;
  EXPECT_TRUE(PlanModel(model_, {head}).ok());
  // GPTQModel has a key for it.
  OutputRequest known = For("transformers", "W4A16", "gptq");
  known.rules = {{"lm_head", *FindScheme("W4A16")}};
  const auto plan = PlanModel(model_, {known});
  EXPECT_TRUE(plan.ok()) << plan.status();

  auto tensors = LlamaTensors(256, 512);
  tensors.push_back({"model.layers.0.mlp.gate.weight", {32, 256}});
  WriteModel(model_, tensors);
  OutputRequest router = For("vllm", "W4A16");
  router.rules = {{"router", *FindScheme("W8A16")}};
  EXPECT_THAT(Misfit(router), HasSubstr("router"));
  router.loader.name = "";
  EXPECT_TRUE(PlanModel(model_, {router}).ok());
}

TEST_F(PlanForLoader, ZeroPointsOfExpertsAreRefused) {
  auto tensors = LlamaTensors(256, 512);
  const std::string expert = "model.layers.0.mlp.experts.3.down_proj";
  tensors.push_back({expert + ".weight", {256, 128}});
  WriteModel(model_, tensors);
  const std::string why = Misfit(For("vllm", "W4A16_ASYM"));
  EXPECT_THAT(why, HasSubstr(expert));
  EXPECT_THAT(why, HasSubstr("issue 2628"));
  EXPECT_THAT(why, HasSubstr("nearest that it takes is int4 sym group 128"));
  EXPECT_THAT(why, HasSubstr("does not fit 1 of"));
  EXPECT_TRUE(PlanModel(model_, {For("vllm", "W4A16")}).ok());
  EXPECT_TRUE(PlanModel(model_, {For("vllm", "W4A16_ASYM", "awq")}).ok());
}

TEST_F(PlanForLoader, KernelsDivideInputsAndMergedOutputs) {
  // 320 % 128 != 0, though groups of 64 and the format's words fit.
  WriteModel(model_, LlamaTensors(256, 320));
  OutputRequest request = For("vllm", "W4A16", "gptq");
  request.scheme.group_size = 64;
  const std::string why = Misfit(request);
  EXPECT_THAT(why, HasSubstr("down_proj"));
  EXPECT_THAT(why, HasSubstr("320 % 128 != 0"));
  EXPECT_THAT(why, Not(HasSubstr("o_proj.weight")));
  request.loader.name = "transformers";
  EXPECT_TRUE(PlanModel(model_, {request}).ok());
  request.loader.name = "vllm";
  request.on_mismatch = OnMismatch::kSkip;
  const auto skipped = PlanModel(model_, {request});
  ASSERT_TRUE(skipped.ok()) << skipped.status();
  // Outputs count together: q, k and v of 32, 16 and 16 rows are 64.
  WriteModel(model_, {{"a.q_proj.weight", {64, 128}},
                      {"a.k_proj.weight", {32, 128}},
                      {"a.v_proj.weight", {32, 128}}});
  EXPECT_TRUE(PlanModel(model_, {For("vllm", "W4A16", "gptq")}).ok());
  WriteModel(model_, {{"a.q_proj.weight", {64, 128}},
                      {"a.k_proj.weight", {32, 128}},
                      {"a.v_proj.weight", {64, 128}}});
  EXPECT_THAT(Misfit(For("vllm", "W4A16", "gptq")), HasSubstr("160 % 64 != 0"));
}

TEST_F(PlanForLoader, RanksShareInputsInWholeGroups) {
  OutputRequest request = For("vllm", "W4A16");
  request.loader.ranks = 2;
  EXPECT_TRUE(PlanModel(model_, {request}).ok());
  request.loader.ranks = 4;  // 256 inputs of o_proj, groups of 128
  const std::string why = Misfit(request);
  EXPECT_THAT(why, HasSubstr("o_proj"));
  EXPECT_THAT(why, HasSubstr("256 % 512 != 0: 4 ranks"));
  EXPECT_THAT(why, Not(HasSubstr("q_proj")));
  request.scheme.group_size = 32;
  EXPECT_TRUE(PlanModel(model_, {request}).ok());
  // Marlin's 128 inputs are those of a rank.
  OutputRequest gptq = For("vllm", "W4A16", "gptq");
  gptq.scheme.group_size = 32;
  gptq.loader.ranks = 4;
  EXPECT_THAT(Misfit(gptq), HasSubstr("64 % 128 != 0"));
  OutputRequest blocks = For("vllm", "FP8_BLOCK", "fp8");
  EXPECT_TRUE(PlanModel(model_, {blocks}).ok());
  blocks.loader.ranks = 4;
  EXPECT_THAT(Misfit(blocks), HasSubstr("64 % 128 != 0"));
}

TEST_F(PlanForLoader, SeveralSchemesNeedALoaderThatMixes) {
  OutputRequest mixed = For("vllm", "W4A16");
  mixed.rules = {{"mlp.down", *FindScheme("W8A16")}};
  EXPECT_TRUE(PlanModel(model_, {mixed}).ok());
  mixed.loader.name = "sglang";
  const std::string why = Misfit(mixed);
  EXPECT_THAT(why, HasSubstr("down_proj"));
  EXPECT_THAT(why, HasSubstr("several schemes in one checkpoint"));
  OutputRequest fp8 = For("tensorrt-llm", "FP8_DYNAMIC");
  fp8.rules = {{"mlp.down", *FindScheme("FP8_BLOCK")}};
  EXPECT_THAT(Misfit(fp8), HasSubstr("Linear"));
  fp8.rules = {{"mlp.down", std::nullopt}};  // left alone is no scheme
  EXPECT_TRUE(PlanModel(model_, {fp8}).ok());
}

TEST_F(PlanForLoader, ChannelsInsteadMustBeTakenToo) {
  WriteModel(model_, LlamaTensors(256, 172));
  OutputRequest request = For("vllm", "W4A16");
  request.on_mismatch = OnMismatch::kChannel;
  EXPECT_TRUE(PlanModel(model_, {request}).ok());
  request.loader.name = "onnxruntime-genai";  // groups only
  request.format = "gptq";
  WriteModel(model_, LlamaTensors(256, 192));
  EXPECT_THAT(Misfit(request), HasSubstr("int2, int4, int8"));
}

TEST_F(PlanForLoader, TargetsOfferWhatIsTaken) {
  const auto bits_of = [&](OutputRequest request) {
    request.target = {.bits_per_weight = 7.5};
    const auto plan = PlanModel(model_, {request});
    EXPECT_TRUE(plan.ok()) << plan.status();
    std::set<int> bits;
    if (!plan.ok()) return bits;
    for (const TensorPlan& tensor : plan->outputs[0].tensors) {
      if (tensor.quantized) bits.insert(tensor.scheme.bits);
    }
    return bits;
  };
  const std::set<int> free = bits_of(Request("W4A16"));
  EXPECT_TRUE(free.count(5) + free.count(6) + free.count(7) > 0);
  for (int bits : bits_of(For("vllm", "W4A16"))) {
    EXPECT_TRUE(bits == 4 || bits == 8) << bits;
  }
  // Asked for what is partly taken: its like may stand for it.
  EXPECT_GT(bits_of(For("vllm", "W3A16")).size(), 0u);
  // One scheme for all, or as it is.
  EXPECT_EQ(bits_of(For("sglang", "W4A16")), std::set<int>{4});
}

TEST_F(PlanForLoader, GgufOfTheBundledModelIsForLlamaCpp) {
  const std::string model = RealModels()[0];
  for (const char* scheme : {"Q4_K_M", "Q2_K", "BF16"}) {
    const auto plan = PlanModel(model, {For("llama.cpp", scheme, "gguf")});
    EXPECT_TRUE(plan.ok()) << plan.status();
  }
  OutputRequest target = For("llama.cpp", "Q4_K_M", "gguf");
  target.target = {.bits_per_weight = 5};
  EXPECT_TRUE(PlanModel(model, {target}).ok());
  const auto refused = PlanModel(model, {For("llama.cpp", "W4A16")});
  EXPECT_EQ(GetReason(refused.status()), Reason::kUnsupported);
}

TEST_F(PlanForLoader, WhatAConversionDropsIsInThePlan) {
  namespace fs = std::filesystem;
  fs::copy(RealModels()[0], dir_ / "tied");
  std::string config = ReadAll(dir_ / "tied/config.json");
  const std::string untied = "\"tie_word_embeddings\": false";
  config.replace(config.find(untied), untied.size(),
                 "\"tie_word_embeddings\": true");
  WriteAll(dir_ / "tied/config.json", config);
  const auto plan = PlanModel(dir_ / "tied", {Request("Q8_0", "gguf")});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->dropped.size(), 1u);
  EXPECT_EQ(plan->dropped[0].name, "lm_head.weight");
  EXPECT_THAT(plan->dropped[0].reason, HasSubstr("embedding"));
  const auto kept = PlanModel(RealModels()[0], {Request("Q8_0", "gguf")});
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_TRUE(kept->dropped.empty());
}

}  // namespace
}  // namespace quant

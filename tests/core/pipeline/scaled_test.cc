// Jobs of methods that scale inputs: networks compute what they did, norms and
// biases are written as they have become, and nothing of it depends on threads
// or on where a job was stopped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/calibrate/calibration.h"
#include "core/calibrate/input_summary.h"
#include "core/network/network.h"
#include "core/pipeline/value_model.h"
#include "tests/core/pipeline/network_models.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

OutputRequest AwqRequest(const std::string& scheme = "W4A16",
                         const std::string& format = "compressed-tensors") {
  OutputRequest request = Request(scheme, format);
  request.method = "awq";
  if (request.scheme.granularity == Granularity::kGroup) {
    request.scheme.group_size = 32;
  }
  request.calibration = Text(16);
  return request;
}

// Norms with sandwiched ones beside them.
std::vector<TensorSpec> Gemma() {
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor : Llama(DType::kBF16)) {
    if (tensor.name != "lm_head.weight") tensors.push_back(tensor);
  }
  for (int i = 0; i < 2; ++i) {
    for (const char* norm : {"pre", "post"}) {
      tensors.push_back({absl::StrCat("model.layers.", i, ".", norm,
                                      "_feedforward_layernorm.weight"),
                         {kHidden},
                         DType::kBF16});
    }
  }
  return tensors;
}

std::vector<TensorSpec> Phi() {
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor : Llama(DType::kF32)) {
    const auto has = [&](const char* part) {
      return tensor.name.find(part) != std::string::npos;
    };
    if (has("q_proj") || has("k_proj") || has("v_proj") || has("gate_proj") ||
        has("up_proj")) {
      continue;
    }
    tensors.push_back(tensor);
  }
  for (int i = 0; i < 2; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    tensors.push_back({layer + "self_attn.qkv_proj.weight",
                       {2 * kHidden, kHidden},
                       DType::kF32});
    tensors.push_back({layer + "mlp.gate_up_proj.weight",
                       {2 * kWidth, kHidden},
                       DType::kF32});
  }
  return tensors;
}

std::vector<TensorSpec> Qwen() {
  std::vector<TensorSpec> tensors = Llama(DType::kF32);
  for (int i = 0; i < 2; ++i) {
    for (const char* part : {"q", "k", "v"}) {
      const bool q = part[0] == 'q';
      tensors.push_back(
          {absl::StrCat("model.layers.", i, ".self_attn.", part, "_proj.bias"),
           {q ? kHidden : kHidden / 2},
           DType::kF32});
    }
  }
  return tensors;
}

class ScaledTest : public ::testing::Test {
 protected:
  using Tree = std::map<std::string, std::string>;

  void SetUp() override {
    WriteModel(model(), Llama(DType::kF32), 1, Config("Llama"));
  }

  std::string model() const { return dir_ / "model"; }

  Tree Run(const OutputRequest& request, const std::string& work,
           int threads = 2) {
    const auto result =
        RunPipeline(model(), {.outputs = {request}}, dir_ / work, threads);
    EXPECT_TRUE(result.ok()) << result.status();
    if (result.ok()) result_ = *result;
    return ReadTree(dir_ / work + "/outputs");
  }

  int PlannedScaled(const OutputRequest& request) const {
    const auto plan = PlanModel(model(), {request});
    EXPECT_TRUE(plan.ok()) << plan.status();
    const auto& tensors = plan->outputs.at(0).tensors;
    return static_cast<int>(
        std::count_if(tensors.begin(), tensors.end(),
                      [](const TensorPlan& tensor) { return tensor.scaled; }));
  }

  double Metric(const std::string& name) const {
    return result_.outputs.at(0).metrics.at(name);
  }
  std::string directory() const { return result_.outputs.at(0).directory; }

  static ValueModel Open(const std::string& path) {
    auto opened = ValueModel::Open(path);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }

  static std::vector<float> Values(const std::string& path,
                                   const std::string& tensor) {
    const ValueModel opened = Open(path);
    const WeightLoader loader(opened.values());
    for (const TensorEntry& entry : opened.values().tensors()) {
      if (entry.name != tensor) continue;
      auto values = loader.Load(tensor, entry.shape);
      EXPECT_TRUE(values.ok()) << values.status();
      return *values;
    }
    ADD_FAILURE() << path << ": no " << tensor;
    return {};
  }

  // What the last block gives for some text.
  static std::vector<float> Hidden(const std::string& path) {
    const ValueModel opened = Open(path);
    const auto network = Network::Open(opened.values());
    EXPECT_TRUE(network.ok()) << network.status();
    ThreadPool pool(2);
    const auto text = Text(2);
    const auto states =
        (*network)->Run(SequencesOf(text->data), {.pool = &pool});
    EXPECT_TRUE(states.ok()) << states.status();
    std::vector<float> hidden(2 * kLength * kHidden);
    EXPECT_TRUE(states->Load(0, 2 * kLength, hidden.data()).ok());
    return hidden;
  }

  // Squared distance of what an artifact computes from what its source does.
  double ErrorOf(const std::string& artifact) const {
    const std::vector<float> before = Hidden(model());
    const std::vector<float> after = Hidden(artifact);
    double error = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      error += std::pow(static_cast<double>(after[i]) - before[i], 2);
    }
    return error;
  }

  TempDir dir_;
  ExecuteResult result_;
};

struct Family {
  std::string name;
  std::vector<TensorSpec> tensors;
  std::string more;
  int scaled;  // of two blocks
};

class ScaledFamilies : public ScaledTest,
                       public ::testing::WithParamInterface<Family> {};

// A factor that was not divided out would show as an error of its own size,
// far above that of eight bits.
TEST_P(ScaledFamilies, ComputeWhatTheyDid) {
  const Family& family = GetParam();
  std::filesystem::remove_all(model());
  WriteModel(model(), family.tensors, 1, Config(family.name, family.more));
  OutputRequest request = AwqRequest("W8A16");
  request.calibration = Text(64);
  Run(request, "awq");
  EXPECT_EQ(PlannedScaled(request), family.scaled);
  // Where no factors are better than none, there are none.
  EXPECT_GT(Metric("scaled_inputs"), family.scaled / 2);
  EXPECT_LE(Metric("scaled_inputs"), family.scaled);
  const double scaled = ErrorOf(directory());
  request.method = "rtn";
  Run(request, "rtn");
  EXPECT_LT(scaled, 1.3 * ErrorOf(directory()));
}

INSTANTIATE_TEST_SUITE_P(
    Architectures, ScaledFamilies,
    ::testing::Values(
        Family{"Llama", Llama(DType::kF32), "", 14},
        Family{"Gemma2", Gemma(), "", 14}, Family{"Phi3", Phi(), "", 8},
        Family{"Qwen2", Qwen(), "", 14},
        // Not gate and up, which read what the router reads.
        Family{"Mixtral", Mixtral(2),
               R"(, "num_local_experts": 2, "num_experts_per_tok": 2)",
               2 * (4 + 2)}),
    [](const auto& info) { return info.param.name; });

TEST_F(ScaledTest, ThreadsDoNotShow) {
  const Tree one = Run(AwqRequest(), "1", 1);
  EXPECT_TRUE(one == Run(AwqRequest(), "3", 3));
  EXPECT_EQ(Metric("calibration_fallbacks"), 0);
  EXPECT_TRUE(result_.notes.empty());
}

TEST_F(ScaledTest, StoppedAfterEveryBlockItGivesTheSameBytes) {
  std::filesystem::remove_all(model());
  WriteModel(model(), Qwen(), 1, Config("Qwen2"));
  const OutputRequest request = AwqRequest();
  const Tree expected = Run(request, "undisturbed");
  const auto stops =
      RunWithStops(model(), {.outputs = {request}}, dir_ / "work", 2, 60);
  ASSERT_TRUE(stops.ok()) << stops.status();
  EXPECT_GE(*stops, 2);
  EXPECT_TRUE(ReadTree(dir_ / "work/outputs") == expected);
}

// Without a Hessian, and with static activations.
TEST_F(ScaledTest, SmoothedJobsDoNotShowThreadsOrStops) {
  OutputRequest request = AwqRequest("W8A8_STATIC");
  request.method = "smoothquant";
  const Tree expected = Run(request, "undisturbed", 1);
  EXPECT_EQ(Metric("scaled_inputs"), 14);
  EXPECT_EQ(Metric("calibration_fallbacks"), 0);
  const auto stops =
      RunWithStops(model(), {.outputs = {request}}, dir_ / "work", 3, 60);
  ASSERT_TRUE(stops.ok()) << stops.status();
  EXPECT_GE(*stops, 3);  // after the survey, too
  EXPECT_TRUE(ReadTree(dir_ / "work/outputs") == expected);
}

// Whatever the format, the norms are the same, and weights where scales are.
TEST_F(ScaledTest, EveryFormatHoldsTheScaledWeights) {
  std::filesystem::remove_all(model());
  WriteModel(model(), Llama(DType::kF16), 1, Config("Llama"));
  const std::string norm = "model.layers.1.input_layernorm.weight";
  const std::string weight = "model.layers.1.self_attn.q_proj.weight";
  OutputRequest request = AwqRequest();
  request.scheme.symmetric = false;
  Run(request, "first");
  const auto norms = Values(directory(), norm);
  const auto weights = Values(directory(), weight);
  EXPECT_NE(norms, Values(model(), norm));
  for (const char* format : {"awq", "gptq_v2"}) {
    request.format = format;
    Run(request, format);
    EXPECT_EQ(Values(directory(), norm), norms) << format;
    EXPECT_EQ(Values(directory(), weight), weights) << format;
  }
  // Scales are F32 there.
  request.format = "dequantized";
  Run(request, "dequantized");
  EXPECT_EQ(Values(directory(), norm).size(), norms.size());
}

// The error of weights is that of what they do, not of what lies on disk.
TEST_F(ScaledTest, ErrorsAreThoseWithoutTheFactors) {
  Run(AwqRequest("W8A16"), "work");
  EXPECT_GT(Metric("min_sqnr_db"), 35);
}

TEST_F(ScaledTest, WhatCanNotBeScaledIsLeftAndSaid) {
  OutputRequest request = AwqRequest();
  request.rules = {
      {.match = "re:model\\.layers\\.0\\.self_attn\\.[qkv]_proj", .scheme = {}},
      {.match = "re:model\\.layers\\.1\\.mlp\\.down_proj", .scheme = {}}};
  const auto plan = PlanModel(model(), {request});
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::map<std::string, TensorPlan> plans;
  const auto opened = OpenModel(model());
  for (const TensorPlan& tensor : plan->outputs[0].tensors) {
    plans[(*opened)->tensors()[tensor.source].name] = tensor;
  }
  const TensorPlan& o = plans["model.layers.0.self_attn.o_proj.weight"];
  EXPECT_TRUE(o.calibrated);
  EXPECT_FALSE(o.scaled);
  EXPECT_THAT(o.reason,
              HasSubstr("inputs not scaled: model.layers.0.self_attn.v_proj, "
                        "which makes them, is not calibrated"));
  const std::string kept = "model.layers.0.input_layernorm.weight";
  EXPECT_FALSE(plans[kept].divided);
  EXPECT_FALSE(plans["model.layers.1.mlp.up_proj.weight"].divided);
  const TensorPlan& norm =
      plans["model.layers.1.post_attention_layernorm.weight"];
  EXPECT_TRUE(norm.divided);
  EXPECT_THAT(norm.reason, HasSubstr("divided by the scales"));
  EXPECT_EQ(PlannedScaled(request), 14 - 3 - 1 - 1);
  Run(request, "work");
  EXPECT_EQ(Values(directory(), kept), Values(model(), kept));
  EXPECT_NE(Values(directory(), "model.layers.1.input_layernorm.weight"),
            Values(model(), "model.layers.1.input_layernorm.weight"));
}

// Two outputs of one job read a norm once; each has its own.
TEST_F(ScaledTest, OutputsDoNotShareFactors) {
  OutputRequest plain = Request("W8A8");
  plain.name = "plain";
  OutputRequest scaled = AwqRequest();
  scaled.name = "scaled";
  const auto result =
      RunPipeline(model(), {.outputs = {plain, scaled}}, dir_ / "work");
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string norm = "model.layers.0.input_layernorm.weight";
  EXPECT_EQ(Values(result->outputs[0].directory, norm), Values(model(), norm));
  EXPECT_NE(Values(result->outputs[1].directory, norm), Values(model(), norm));
}

// Static activations cover inputs as they are after the division.
TEST_F(ScaledTest, StaticScalesAreThoseOfTheDividedInputs) {
  Run(AwqRequest("W8A8_STATIC"), "work");
  const ValueModel opened = Open(directory());
  ThreadPool pool(2);
  const auto inputs =
      SummarizeInputs(opened.values(), Text(16)->data, {.pool = &pool});
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  int seen = 0;
  for (const TensorEntry& entry : opened.stored().tensors()) {
    const size_t end = entry.name.find(".input_scale");
    if (end == std::string::npos) continue;
    const auto& summary = inputs->at(entry.name.substr(0, end) + ".weight");
    const float most =
        *std::max_element(summary.absmax.begin(), summary.absmax.end());
    float scale = 0;
    ASSERT_TRUE(opened.stored()
                    .Read(entry, 0,
                          absl::MakeSpan(reinterpret_cast<uint8_t*>(&scale), 4))
                    .ok());
    // Blocks before were not quantized where the text was surveyed.
    EXPECT_NEAR(scale * 127.5, most, 0.05 * most) << entry.name;
    ++seen;
  }
  EXPECT_EQ(seen, 14);
}

TEST_F(ScaledTest, StarvedExpertsAreNotScaled) {
  std::filesystem::remove_all(model());
  WriteModel(model(), Mixtral(6), 1,
             Config("Mixtral", R"(, "num_local_experts": 6,
                    "num_experts_per_tok": 1)"));
  OutputRequest request = AwqRequest("W4A16", "dequantized");
  request.calibration = Text(6);  // 144 tokens: enough for attention only
  Run(request, "work");
  EXPECT_GT(Metric("scaled_inputs"), 0);
  EXPECT_LE(Metric("scaled_inputs"), 8);
  EXPECT_EQ(Metric("calibration_fallbacks"), 2 * 6 * 3);
}

TEST_F(ScaledTest, RefusesOptionsOfOtherMethods) {
  const auto refusal = [&](auto set) {
    OutputRequest request = AwqRequest();
    set(request);
    const absl::Status status = PlanModel(model(), {request}).status();
    return std::string(status.message());
  };
  EXPECT_THAT(refusal([](auto& r) { r.calibrated.act_order = true; }),
              HasSubstr("act_order: is nothing that method \"awq\" can do"));
  EXPECT_THAT(refusal([](auto& r) { r.true_sequential = true; }),
              HasSubstr("true_sequential"));
  EXPECT_THAT(refusal([](auto& r) {
                r.scheme = *FindScheme("W8A8");
                r.method = "smoothquant";
                r.calibrated.smoothing = 1.5;
              }),
              HasSubstr("at most 1 are allowed"));
  EXPECT_THAT(refusal([](auto& r) { r.calibration = nullptr; }),
              HasSubstr("--calibration"));
  EXPECT_THAT(refusal([](auto& r) { r.scheme = *FindScheme("FP8A16"); }),
              HasSubstr("nearest"));
}

}  // namespace
}  // namespace quant

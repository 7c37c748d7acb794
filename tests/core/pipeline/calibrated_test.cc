// Calibrated jobs: the same bytes at any number of threads and after any stop,
// errors before any work, and nothing that is not finite in an artifact.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/pipeline/value_model.h"
#include "tests/core/pipeline/network_models.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

OutputRequest GptqRequest(const std::string& format = "compressed-tensors") {
  OutputRequest request = Request("W4A16", format);
  request.method = "gptq";
  request.scheme.group_size = 32;
  request.calibration = Text(16);
  return request;
}

class CalibratedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteModel(model(), Llama(DType::kF32), 1, Config("Llama"));
  }

  std::string model() const { return dir_ / "model"; }

  using Tree = std::map<std::string, std::string>;
  Tree Run(const OutputRequest& request, const std::string& work,
           int threads = 2) {
    const auto result =
        RunPipeline(model(), {.outputs = {request}}, dir_ / work, threads);
    EXPECT_TRUE(result.ok()) << result.status();
    if (result.ok()) result_ = *result;
    return ReadTree(dir_ / work + "/outputs");
  }

  // All values of a tensor of an artifact.
  std::vector<float> Values(const std::string& work,
                            const std::string& tensor) {
    const auto opened = ValueModel::Open(result_.outputs.at(0).directory);
    EXPECT_TRUE(opened.ok()) << opened.status();
    for (const TensorEntry& entry : opened->values().tensors()) {
      if (entry.name != tensor) continue;
      std::vector<float> values(entry.bytes / sizeof(float));
      EXPECT_TRUE(
          opened->values()
              .Read(entry, 0,
                    absl::MakeSpan(reinterpret_cast<uint8_t*>(values.data()),
                                   entry.bytes))
              .ok());
      return values;
    }
    ADD_FAILURE() << "no " << tensor << " in " << work;
    return {};
  }

  absl::Status PlanError(const OutputRequest& request) {
    return PlanModel(model(), {request}).status();
  }

  TempDir dir_;
  ExecuteResult result_;
};

TEST_F(CalibratedTest, ThreadsDoNotShow) {
  for (bool act_order : {false, true}) {
    OutputRequest request = GptqRequest();
    request.calibrated.act_order = act_order;
    const std::string name = act_order ? "ordered" : "plain";
    const Tree one = Run(request, name + "1", 1);
    EXPECT_TRUE(one == Run(request, name + "3", 3));
    EXPECT_EQ(result_.outputs[0].metrics.at("calibrated_tensors"), 14);
    EXPECT_EQ(result_.outputs[0].metrics.at("calibration_fallbacks"), 0);
    EXPECT_TRUE(result_.notes.empty());
  }
}

TEST_F(CalibratedTest, StoppedAfterEveryBlockItGivesTheSameBytes) {
  const OutputRequest request = GptqRequest();
  const Tree expected = Run(request, "undisturbed");
  for (bool keep_states : {true, false}) {
    const std::string work = keep_states ? "kept" : "repeated";
    const auto stops = RunWithStops(model(), {.outputs = {request}},
                                    dir_ / work, 2, 40, keep_states);
    ASSERT_TRUE(stops.ok()) << stops.status();
    EXPECT_GE(*stops, keep_states ? 3 : 2);
    EXPECT_TRUE(ReadTree(dir_ / (work + "/outputs")) == expected);
  }
}

TEST_F(CalibratedTest, BlocksBeforeKeptStatesDoNotRunAgain) {
  const OutputRequest request = GptqRequest();
  const Tree expected = Run(request, "undisturbed");
  EXPECT_EQ(result_.blocks_resumed, 0);
  const auto stopped = [&](int after) {
    std::stop_source stop;
    ExecuteOptions options{.stop = stop.get_token(), .keep_states_every = {}};
    options.journal = [&](int64_t) {
      if (--after == 0) stop.request_stop();
    };
    return RunPipeline(model(), {.outputs = {request}}, dir_ / "work", 2,
                       options);
  };
  // Codes of the first block, then the states behind it.
  EXPECT_TRUE(absl::IsCancelled(stopped(2).status()));
  const std::string states = dir_ / "work/calibrated/W4A16/kept.states";
  const std::string bytes = ReadAll(states);
  const auto result = stopped(-1);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->blocks_resumed, 1);
  EXPECT_EQ(result->blocks_skipped, 1);
  EXPECT_TRUE(ReadTree(dir_ / "work/outputs") == expected);
  EXPECT_FALSE(PathExists(states));
  // States behind a block whose codes are gone serve no more.
  WriteAll(states, bytes);
  std::filesystem::remove(dir_ / "work/calibrated/W4A16/block-0");
  std::filesystem::remove_all(dir_ / "work/outputs");
  const auto again = stopped(-1);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->blocks_skipped, 0);
  EXPECT_TRUE(ReadTree(dir_ / "work/outputs") == expected);
}

TEST_F(CalibratedTest, DamagedBlocksAreDoneAgain) {
  const OutputRequest request = GptqRequest();
  const Tree expected = Run(request, "work");
  const std::string block = dir_ / "work/calibrated/W4A16/block-0";
  std::string bytes = ReadAll(block);
  bytes[bytes.size() / 2] ^= 1;
  WriteAll(block, bytes);
  std::filesystem::remove(dir_ / "work/calibrated/W4A16/block-1");
  EXPECT_TRUE(Run(request, "work") == expected);
  EXPECT_NE(ReadAll(block), bytes);
}

TEST_F(CalibratedTest, AnotherTextStartsOver) {
  OutputRequest request = GptqRequest();
  const Tree first = Run(request, "work");
  auto other = std::make_shared<DatasetFile>(*request.calibration);
  std::reverse(other->data.ids.begin(), other->data.ids.end());
  other->data.digest = std::string(64, 'b');
  request.calibration = other;
  const Tree fresh = Run(request, "fresh");
  EXPECT_FALSE(fresh == first);
  EXPECT_TRUE(Run(request, "work") == fresh);
}

// Compressed-tensors files with an index of columns hold what the format of
// plain values holds.
TEST_F(CalibratedTest, ColumnGroupsAreStoredAndRead) {
  const std::string tensor = "model.layers.1.mlp.down_proj.weight";
  for (bool symmetric : {true, false}) {
    std::vector<std::vector<float>> found;
    for (const char* format : {"dequantized", "compressed-tensors"}) {
      OutputRequest request = GptqRequest(format);
      request.scheme.symmetric = symmetric;
      request.calibrated.act_order = true;
      const std::string work = absl::StrCat(format, symmetric);
      Run(request, work);
      found.push_back(Values(work, tensor));
    }
    ASSERT_EQ(found[0].size(), static_cast<size_t>(kHidden * kWidth));
    EXPECT_EQ(found[0], found[1]);
  }
  OutputRequest request = GptqRequest("gptq_v2");
  request.calibrated.act_order = true;
  const Tree tree = Run(request, "gptq");
  EXPECT_THAT(tree.at("W4A16/config.json"), HasSubstr("\"desc_act\": true"));
  // Scales are F16 there.
  const auto values = Values("gptq", tensor);
  EXPECT_EQ(values.size(), static_cast<size_t>(kHidden * kWidth));
}

TEST_F(CalibratedTest, FormatsWithoutAnIndexRefuseOne) {
  OutputRequest request = GptqRequest("awq");
  request.scheme.symmetric = false;
  request.calibrated.act_order = true;
  EXPECT_THAT(PlanError(request).message(),
              HasSubstr("format \"awq\" can't carry scheme"));
  request.calibrated.static_groups = true;
  EXPECT_TRUE(PlanError(request).ok()) << PlanError(request);
}

// Quantizing the first block changes what the second one sees.
TEST_F(CalibratedTest, ErrorsPropagate) {
  OutputRequest request = GptqRequest("dequantized");
  request.scheme.bits = 2;
  Run(request, "both");
  const std::string tensor = "model.layers.1.self_attn.q_proj.weight";
  const auto both = Values("both", tensor);
  request.rules = {{.match = "re:model\\.layers\\.0\\.", .scheme = {}}};
  Run(request, "second");
  EXPECT_NE(Values("second", tensor), both);
}

TEST_F(CalibratedTest, TrueSequentialSeesTheBlocksOwnErrors) {
  OutputRequest request = GptqRequest("dequantized");
  request.scheme.bits = 2;
  Run(request, "plain");
  const auto q = Values("plain", "model.layers.0.self_attn.q_proj.weight");
  const auto o = Values("plain", "model.layers.0.self_attn.o_proj.weight");
  request.true_sequential = true;
  request.recipe_json += "true_sequential";
  Run(request, "sequential");
  // Nothing comes before q; o sees what q, k and v give.
  EXPECT_EQ(Values("sequential", "model.layers.0.self_attn.q_proj.weight"), q);
  EXPECT_NE(Values("sequential", "model.layers.0.self_attn.o_proj.weight"), o);
}

TEST_F(CalibratedTest, DeadColumnsAreCounted) {
  PatchElement(model(), "model.layers.0.input_layernorm.weight", 9, 0);
  Run(GptqRequest(), "work");
  EXPECT_EQ(result_.outputs[0].metrics.at("dead_columns"), 3);  // q, k, v
  ASSERT_EQ(result_.notes.size(), 3u);
  EXPECT_THAT(result_.notes[0], HasSubstr("1 of its 64 columns met only"));
}

TEST_F(CalibratedTest, StarvedExpertsAreRoundedToNearest) {
  WriteModel(model(), Mixtral(6), 1,
             Config("Mixtral", R"(, "num_local_experts": 6,
                    "num_experts_per_tok": 1)"));
  OutputRequest request = GptqRequest("dequantized");
  request.calibration = Text(1);  // 24 tokens for 6 experts
  Run(request, "work");
  const auto& metrics = result_.outputs[0].metrics;
  EXPECT_EQ(metrics.at("calibrated_tensors"), 2 * (4 + 6 * 3));
  EXPECT_GT(metrics.at("calibration_fallbacks"), 0);
  EXPECT_EQ(metrics.at("calibration_fallbacks"),
            static_cast<double>(std::count_if(
                result_.notes.begin(), result_.notes.end(),
                [](const std::string& note) {
                  return note.find("tokens, fewer than") != std::string::npos;
                })));
  for (int e = 0; e < 6; ++e) {
    const auto values =
        Values("work", absl::StrCat("model.layers.0.block_sparse_moe.experts.",
                                    e, ".w2.weight"));
    EXPECT_TRUE(std::all_of(values.begin(), values.end(),
                            [](float v) { return std::isfinite(v); }));
  }
}

TEST_F(CalibratedTest, RefusesWhatCanNotBeBeforeAnyWork) {
  OutputRequest request = GptqRequest();
  request.calibration = nullptr;
  EXPECT_THAT(PlanError(request).message(), HasSubstr("--calibration"));
  request = GptqRequest();
  request.calibrated.damping = 0;
  EXPECT_THAT(PlanError(request).message(), HasSubstr("damping"));
  request = GptqRequest();
  request.scheme = *FindScheme("FP8A16");
  EXPECT_THAT(PlanError(request).message(), HasSubstr("nearest"));
}

TEST_F(CalibratedTest, ThePlanSaysWhatIsCalibratedAndBoundsIt) {
  OutputRequest request = GptqRequest();
  request.rules = {{.match = "lm_head", .scheme = request.scheme}};
  const auto plan = PlanModel(model(), {request});
  ASSERT_TRUE(plan.ok()) << plan.status();
  int calibrated = 0;
  for (const TensorPlan& tensor : plan->outputs[0].tensors) {
    calibrated += tensor.calibrated;
    if (tensor.role == "lm_head") {
      EXPECT_THAT(tensor.reason, HasSubstr("rounded to nearest"));
    }
  }
  EXPECT_EQ(calibrated, 14);
  request = Request("W4A16");
  request.scheme.group_size = 32;
  const auto plain = PlanModel(model(), {request});
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_GT(plan->memory_bound_bytes, plain->memory_bound_bytes);
  EXPECT_GT(plan->disk_bound_bytes, plain->disk_bound_bytes);
  EXPECT_NE(plan->fingerprint, plain->fingerprint);
}

}  // namespace
}  // namespace quant

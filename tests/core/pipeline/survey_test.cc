// What jobs find out about inputs before they quantize: scales of static
// activations, and importance for block types of GGUF.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/artifact/input_roundings.h"
#include "core/base/error.h"
#include "core/calibrate/importance.h"
#include "core/calibrate/input_summary.h"
#include "core/container/hf_model.h"
#include "core/tokenizer/id_files.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kLength = 32;
const std::string kTokens = std::string(QUANT_SOURCE_DIR) +
                            "/examples/tokens/tiny-own_sampled_calib.npy";

std::shared_ptr<const DatasetFile> Text(int64_t sequences) {
  auto text = std::make_shared<DatasetFile>();
  text->data.ids = *ReadIdFile(kTokens);
  text->data.ids.resize(sequences * kLength);
  text->data.sequences = sequences;
  text->data.sequence_length = kLength;
  text->data.digest = std::string(64, 'd');
  text->name = "text.npy";
  text->sha256 = std::string(64, 'a');
  return text;
}

OutputRequest StaticRequest(const std::string& scheme,
                            const std::string& format = "compressed-tensors") {
  OutputRequest request = Request(scheme, format);
  request.calibration = Text(4);
  return request;
}

// A Mixtral of one block, whose router likes some experts better.
void WriteMixtral(const std::string& path, int experts) {
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor :
       LlamaTensors(64, 96, DType::kF32, /*layers=*/1)) {
    if (tensor.name.find(".mlp.") == std::string::npos) {
      tensors.push_back(tensor);
    }
  }
  const std::string layer = "model.layers.0.";
  tensors.push_back(
      {layer + "post_attention_layernorm.weight", {64}, DType::kF32});
  const std::string moe = layer + "block_sparse_moe.";
  tensors.push_back({moe + "gate.weight", {experts, 64}, DType::kF32});
  for (int e = 0; e < experts; ++e) {
    const std::string expert = absl::StrCat(moe, "experts.", e, ".");
    tensors.push_back({expert + "w1.weight", {96, 64}, DType::kF32});
    tensors.push_back({expert + "w3.weight", {96, 64}, DType::kF32});
    tensors.push_back({expert + "w2.weight", {64, 96}, DType::kF32});
  }
  WriteModel(path, tensors, 1,
             absl::StrCat(R"({"architectures": ["MixtralForCausalLM"],
      "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96,
      "num_hidden_layers": 1, "num_attention_heads": 4,
      "num_key_value_heads": 2, "max_position_embeddings": 64,
      "rms_norm_eps": 1e-5, "hidden_act": "silu", "num_experts_per_tok": 1,
      "num_local_experts": )",
                          experts, "}"));
}

class SurveyTest : public ::testing::Test {
 protected:
  using Tree = std::map<std::string, std::string>;

  Tree Run(const OutputRequest& request, const std::string& work,
           int threads = 2) {
    const auto result =
        RunPipeline(model_, {.outputs = {request}}, dir_ / work, threads);
    EXPECT_TRUE(result.ok()) << result.status();
    if (result.ok()) result_ = *result;
    return ReadTree(dir_ / work + "/outputs");
  }

  // Of the last run's artifact.
  InputRoundings Roundings() {
    const auto opened = OpenModel(result_.outputs.at(0).directory);
    EXPECT_TRUE(opened.ok()) << opened.status();
    const auto roundings = ReadInputRoundings(**opened);
    EXPECT_TRUE(roundings.ok()) << roundings.status();
    return roundings.ok() ? *roundings : InputRoundings();
  }

  InputSummaries Summaries(const DatasetFile& text) {
    const auto source = OpenModel(model_);
    ThreadPool pool(2);
    RunOptions options;
    options.pool = &pool;
    const auto found = SummarizeInputs(**source, text.data, options);
    EXPECT_TRUE(found.ok()) << found.status();
    return *found;
  }

  TempDir dir_;
  std::string model_ = RealModels()[0];
  ExecuteResult result_;
};

TEST_F(SurveyTest, StaticScalesCoverWhatTheTextShows) {
  const InputSummaries seen = Summaries(*Text(4));
  for (const auto& [scheme, format, kind, largest] :
       {std::tuple{"FP8", "compressed-tensors", Activations::kFp8TensorStatic,
                   448.0f},
        {"FP8", "fp8", Activations::kFp8TensorStatic, 448.0f},
        {"W8A8_STATIC", "compressed-tensors", Activations::kInt8TensorStatic,
         127.5f}}) {
    SCOPED_TRACE(absl::StrCat(scheme, " ", format));
    Run(StaticRequest(scheme, format), absl::StrCat(scheme, format));
    EXPECT_EQ(result_.outputs[0].metrics.at("unseen_inputs"), 0);
    const InputRoundings roundings = Roundings();
    ASSERT_EQ(roundings.size(), 28u);
    for (const auto& [module, rounding] : roundings) {
      const auto& absmax = seen.at(module + ".weight").absmax;
      const float most = *std::max_element(absmax.begin(), absmax.end());
      EXPECT_EQ(rounding.kind, kind) << module;
      EXPECT_GE(rounding.scale * largest, most * 0.99999f) << module;
      EXPECT_LE(rounding.scale * largest, most * 1.01f) << module;
    }
  }
}

TEST_F(SurveyTest, DynamicKindsAreReadBack) {
  for (const auto& [scheme, format, kind] :
       {std::tuple{"W8A8", "compressed-tensors",
                   Activations::kInt8TokenDynamic},
        {"FP8_DYNAMIC", "compressed-tensors", Activations::kFp8TokenDynamic},
        {"FP8_BLOCK", "compressed-tensors", Activations::kFp8Group128Dynamic},
        {"FP8_BLOCK", "fp8", Activations::kFp8Group128Dynamic},
        {"W4A16", "compressed-tensors", Activations::kNone},
        {"W4A16", "gptq", Activations::kNone}}) {
    SCOPED_TRACE(absl::StrCat(scheme, " ", format));
    OutputRequest request = Request(scheme, format);
    // Of two groups, exact names go first.
    if (format == std::string("compressed-tensors")) {
      request.rules = {{"re:model\\.layers\\.0\\..*", *FindScheme("W8A16")}};
    }
    Run(request, absl::StrCat(scheme, format));
    const InputRoundings roundings = Roundings();
    if (kind == Activations::kNone) {
      EXPECT_TRUE(roundings.empty());
      continue;
    }
    EXPECT_EQ(roundings.size(), request.rules.empty() ? 28u : 21u);
    for (const auto& [module, rounding] : roundings) {
      EXPECT_EQ(rounding, (InputRounding{.kind = kind})) << module;
    }
  }
}

TEST_F(SurveyTest, ThreadsAndStopsDoNotShow) {
  const OutputRequest request = StaticRequest("FP8");
  const Tree expected = Run(request, "one", 1);
  EXPECT_TRUE(Run(request, "three", 3) == expected);
  const auto stops =
      RunWithStops(model_, {.outputs = {request}}, dir_ / "work", 2, 60);
  ASSERT_TRUE(stops.ok()) << stops.status();
  EXPECT_GE(*stops, 2);
  EXPECT_TRUE(ReadTree(dir_ / "work/outputs") == expected);
}

TEST_F(SurveyTest, WhatIsDamagedIsSeenAgain) {
  const OutputRequest request = StaticRequest("FP8");
  const Tree expected = Run(request, "work");
  const std::string file = dir_ / "work/calibrated/inputs.survey";
  std::string bytes = ReadAll(file);
  bytes[bytes.size() / 2] ^= 1;
  WriteAll(file, bytes);
  std::filesystem::remove(dir_ / "work/journal");
  EXPECT_TRUE(Run(request, "work") == expected);
  EXPECT_NE(ReadAll(file), bytes);
}

TEST_F(SurveyTest, SealsHold) {
  InputSummaries summaries;
  summaries["a"] = {.tokens = 3, .absmax = {1, 2}, .mean_square = {0.5f, 1}};
  summaries["b.experts.1"] = {.tokens = 0, .absmax = {0}, .mean_square = {0}};
  const std::string bytes = SealSummaries(summaries);
  EXPECT_TRUE(UnsealSummaries(bytes) == summaries);
  EXPECT_FALSE(UnsealSummaries(""));
  for (size_t cut = 1; cut <= bytes.size(); ++cut) {
    EXPECT_FALSE(UnsealSummaries(bytes.substr(0, bytes.size() - cut)));
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string wrong = bytes;
    wrong[at] ^= 1;
    EXPECT_FALSE(UnsealSummaries(wrong));
  }
}

TEST_F(SurveyTest, WithoutTextTheNearestIsNamed) {
  for (const auto& [scheme, nearest] :
       {std::pair{"FP8", "FP8_DYNAMIC"}, {"W8A8_STATIC", "\"W8A8\""}}) {
    const absl::Status status = PlanModel(model_, {Request(scheme)}).status();
    EXPECT_EQ(GetReason(status), Reason::kUnsupported);
    EXPECT_EQ(GetField(status), "calibration");
    EXPECT_THAT(std::string(status.message()), HasSubstr(nearest));
  }
  // By a rule, too.
  OutputRequest request = Request("W4A16");
  request.rules = {{"mlp.down", *FindScheme("FP8")}};
  EXPECT_EQ(GetReason(PlanModel(model_, {request}).status()),
            Reason::kUnsupported);
}

TEST_F(SurveyTest, WhatCalibrationDoesNotSeeIsRefused) {
  OutputRequest request = StaticRequest("FP8");
  request.rules = {{"lm_head", request.scheme}};
  const absl::Status status = PlanModel(model_, {request}).status();
  EXPECT_EQ(GetReason(status), Reason::kPlanRefused);
  EXPECT_THAT(std::string(status.message()), HasSubstr("FP8_DYNAMIC"));
}

TEST_F(SurveyTest, ExpertsWithoutTokensGetWhatTheOthersMet) {
  model_ = dir_ / "model";
  WriteMixtral(model_, 12);
  OutputRequest request = StaticRequest("W8A8_STATIC");
  auto text = std::make_shared<DatasetFile>(*Text(1));
  for (int32_t& id : text->data.ids) id %= 7;
  request.calibration = text;
  Run(request, "work");
  EXPECT_GT(result_.outputs[0].metrics.at("unseen_inputs"), 0);
  EXPECT_EQ(result_.outputs[0].metrics.at("unseen_inputs"),
            static_cast<double>(result_.notes.size()));
  EXPECT_THAT(result_.notes.at(0), HasSubstr("other experts"));
  const InputRoundings roundings = Roundings();
  const InputSummaries seen = Summaries(*text);
  for (const char* weight : {"w1", "w2", "w3"}) {
    float most = 0;
    for (int e = 0; e < 12; ++e) {
      const auto& absmax =
          seen.at(absl::StrCat("model.layers.0.block_sparse_moe.experts.", e,
                               ".", weight, ".weight"))
              .absmax;
      most = std::max(most, *std::max_element(absmax.begin(), absmax.end()));
    }
    for (int e = 0; e < 12; ++e) {
      const float scale =
          roundings
              .at(absl::StrCat("model.layers.0.block_sparse_moe.experts.", e,
                               ".", weight))
              .scale;
      EXPECT_GT(scale, 0);
      EXPECT_LE(scale, most / 127.5f * 1.0001f);
    }
  }
}

// The text in the job does what `quantctl calibrate` and an importance matrix
// do.
TEST_F(SurveyTest, GgufTypesAreWeighedByTheText) {
  const auto source = OpenModel(model_);
  ThreadPool pool(2);
  RunOptions options;
  options.pool = &pool;
  const auto text = Text(8);
  auto matrix = MeasureImportance(**source, *text, options);
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  std::map<std::string, Tree> trees;
  for (const char* how : {"plain", "matrix", "text"}) {
    OutputRequest request = Request("Q4_K_M", "gguf");
    if (how == std::string("matrix")) {
      auto importance = std::make_shared<Importance>();
      importance->matrix = *matrix;
      request.importance = importance;
    } else if (how == std::string("text")) {
      request.calibration = text;
    }
    Run(request, how);
    const auto made = OpenModel(result_.outputs[0].directory);
    ASSERT_TRUE(made.ok()) << made.status();
    for (const TensorEntry& tensor : (*made)->tensors()) {
      std::string bytes(tensor.bytes, '\0');
      ASSERT_TRUE(
          (*made)
              ->Read(tensor, 0,
                     absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()),
                                    bytes.size()))
              .ok());
      trees[how][tensor.name] = bytes;
    }
  }
  EXPECT_TRUE(trees["text"] == trees["matrix"]);
  EXPECT_FALSE(trees["text"] == trees["plain"]);
}

TEST_F(SurveyTest, ThePlanSaysSoAndBoundsIt) {
  OutputRequest request = Request("Q4_K_M", "gguf");
  const auto plain = PlanModel(model_, {request});
  request.calibration = Text(8);
  const auto plan = PlanModel(model_, {request});
  ASSERT_TRUE(plan.ok()) << plan.status();
  int weighted = 0;
  for (const TensorPlan& tensor : plan->outputs[0].tensors) {
    weighted += tensor.reason.find("calibration") != std::string::npos;
  }
  EXPECT_EQ(weighted, 28);
  EXPECT_GT(plan->memory_bound_bytes, plain->memory_bound_bytes);
  EXPECT_GT(plan->disk_bound_bytes, plain->disk_bound_bytes);
  EXPECT_NE(plan->fingerprint, plain->fingerprint);
}

}  // namespace
}  // namespace quant

// Evaluation as a stage of a job: the numbers of core/evaluate, whatever stops
// it, and gates on them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "core/artifact/manifest.h"
#include "core/base/error.h"
#include "core/network/config.h"
#include "core/pipeline/evaluated_stage.h"
#include "core/pipeline/layout.h"
#include "core/pipeline/value_network.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kLength = 24, kVocabulary = 96;
constexpr char kConfig[] = R"({"architectures": ["LlamaForCausalLM"],
    "model_type": "llama", "vocab_size": 96, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu"})";

std::vector<TensorSpec> Llama() {
  std::vector<TensorSpec> tensors = LlamaTensors(64, 96, DType::kF32);
  for (int i = 0; i < 2; ++i) {
    tensors.push_back(
        {absl::StrCat("model.layers.", i, ".post_attention_layernorm.weight"),
         {64},
         DType::kF32});
  }
  return tensors;
}

std::shared_ptr<const EvaluationText> Text(int64_t sequences) {
  auto text = std::make_shared<EvaluationText>();
  text->network = *ParseNetworkConfig(kConfig);
  std::mt19937 random(7);
  Dataset& data = text->text.data;
  for (int64_t i = 0; i < sequences * kLength; ++i) {
    data.ids.push_back(static_cast<int32_t>(random() % kVocabulary));
  }
  data.sequences = sequences;
  data.sequence_length = kLength;
  data.digest = std::string(64, 'e');
  text->text.name = "text.npy";
  text->text.sha256 = std::string(64, 'a');
  return text;
}

OutputRequest Small(const std::string& scheme, const std::string& format) {
  OutputRequest request = Request(scheme, format);
  if (scheme[0] == 'W') request.scheme.group_size = 32;
  request.name = scheme;
  return request;
}

class EvaluatedTest : public ::testing::Test {
 protected:
  void SetUp() override { WriteModel(model(), Llama(), 1, kConfig); }

  std::string model() const { return dir_ / "model"; }

  PlanRequest Both(int64_t sequences) const {
    return {.outputs = {Small("W4A16", "compressed-tensors"),
                        Small("W8A16", "gptq")},
            .evaluation = Text(sequences)};
  }

  ExecuteResult Run(const PlanRequest& request, const std::string& work,
                    int threads = 2, ExecuteOptions options = {}) {
    const auto result =
        RunPipeline(model(), request, dir_ / work, threads, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : ExecuteResult{};
  }

  static std::map<std::string, double> FiguresOf(const ExecutedOutput& output) {
    std::map<std::string, double> figures;
    for (const std::string& name : EvaluationMetrics()) {
      figures[name] = output.metrics.at(name);
    }
    return figures;
  }

  // By core/evaluate, all at once.
  std::map<std::string, double> Expected(const std::string& directory,
                                         int64_t sequences) const {
    const auto source = ValueNetwork::Open(model());
    const auto made = ValueNetwork::Open(directory);
    EXPECT_TRUE(source.ok() && made.ok()) << made.status();
    ThreadPool pool(1);
    EvaluateOptions options{.sequence_length = kLength};
    options.run.pool = &pool;
    const auto found = Evaluate(*made->network, source->network.get(),
                                Text(sequences)->text.data.ids, options);
    EXPECT_TRUE(found.ok()) << found.status();
    const auto all = found->Metrics();
    std::map<std::string, double> figures;
    for (const auto& [name, value] : all) {
      const auto& wanted = EvaluationMetrics();
      if (std::find(wanted.begin(), wanted.end(), name) != wanted.end()) {
        figures[name] = value;
      }
    }
    return figures;
  }

  // The last batch of a part is smaller than in a run over everything, and on
  // some CPUs products of fewer rows differ in their last bits.
  static void ExpectNear(const std::map<std::string, double>& figures,
                         const std::map<std::string, double>& expected) {
    for (const auto& [name, value] : expected) {
      const bool divergence = name.find("kl_") == 0;
      EXPECT_NEAR(figures.at(name), value, divergence ? value * 1e-3 : 1e-9)
          << name;
    }
  }

  TempDir dir_;
};

TEST_F(EvaluatedTest, TheNumbersAreThoseOfEvaluateInEveryFormat) {
  const ExecuteResult checkpoints = Run(Both(9), "hf");
  const ExecuteResult plain =
      Run({.outputs = {Small("W4A16", "dequantized")}, .evaluation = Text(9)},
          "plain");
  std::vector<ExecutedOutput> outputs = checkpoints.outputs;
  outputs.push_back(plain.outputs.at(0));
  for (const ExecutedOutput& output : outputs) {
    EXPECT_EQ(FiguresOf(output), Expected(output.directory, 9)) << output.name;
  }
  EXPECT_GT(outputs[0].metrics.at("kl_mean"), outputs[1].metrics.at("kl_mean"));
  EXPECT_GT(checkpoints.stage_seconds.at("EVALUATING"), 0);
}

TEST_F(EvaluatedTest, StoppedAnywhereItEndsWithTheSameNumbers) {
  // Two parts.
  const PlanRequest request = Both(1400);
  const ExecuteResult expected = Run(request, "undisturbed", 1);
  for (const ExecutedOutput& output : expected.outputs) {
    ExpectNear(FiguresOf(output), Expected(output.directory, 1400));
  }
  int stops = 0, evaluating = 0;
  for (;; ++stops) {
    ASSERT_LT(stops, 80);
    std::stop_source stop;
    ExecuteOptions options;
    options.stop = stop.get_token();
    options.journal = [&](int64_t) { stop.request_stop(); };
    options.keep_states_every = {};
    options.progress = [&](const ProgressUpdate& update) {
      evaluating += update.stage == "EVALUATING" && update.fraction < 1;
    };
    const auto result =
        RunPipeline(model(), request, dir_ / "work", 2, options);
    if (result.ok()) {
      EXPECT_EQ(FiguresOf(result->outputs[0]), FiguresOf(expected.outputs[0]));
      EXPECT_EQ(FiguresOf(result->outputs[1]), FiguresOf(expected.outputs[1]));
      break;
    }
    ASSERT_TRUE(absl::IsCancelled(result.status())) << result.status();
  }
  // Each of four figures' files ended an attempt, except the last; so did the
  // states behind each of two blocks before them.
  EXPECT_GE(stops, 11);
  EXPECT_TRUE(ReadTree(dir_ / "work/outputs") ==
              ReadTree(dir_ / "undisturbed/outputs"));
  // What is evaluated is not evaluated again.
  evaluating = 0;
  ExecuteOptions options;
  options.progress = [&](const ProgressUpdate& update) {
    evaluating += update.stage == "EVALUATING";
  };
  Run(request, "work", 2, options);
  EXPECT_EQ(evaluating, 0);
}

TEST_F(EvaluatedTest, DamagedFiguresAreFoundAgain) {
  const PlanRequest request = Both(9);
  const ExecuteResult expected = Run(request, "work");
  const std::string part = dir_ / "work/evaluated/W4A16/part-0";
  std::string bytes = ReadAll(part);
  bytes[bytes.size() - 9] ^= 1;
  WriteAll(part, bytes);
  const ExecuteResult again = Run(request, "work");
  EXPECT_EQ(FiguresOf(again.outputs[0]), FiguresOf(expected.outputs[0]));
  EXPECT_NE(ReadAll(part), bytes);
}

TEST_F(EvaluatedTest, ProgressHasTheStageAndNeverFalls) {
  std::vector<std::string> stages;
  double fraction = 0;
  ExecuteOptions options;
  options.progress = [&](const ProgressUpdate& update) {
    EXPECT_GE(update.fraction, fraction) << update.stage;
    EXPECT_LE(update.fraction, 1);
    fraction = update.fraction;
    if (stages.empty() || stages.back() != update.stage) {
      stages.push_back(update.stage);
    }
  };
  Run(Both(9), "work", 2, options);
  EXPECT_EQ(stages, (std::vector<std::string>{"QUANTIZING", "FINISHING",
                                              "EVALUATING"}));
  EXPECT_EQ(fraction, 1);
}

TEST_F(EvaluatedTest, VerdictsStandInTheManifest) {
  PlanRequest request = Both(9);
  request.gates = {{.metric = "kl_mean", .threshold = 100},
                   {.metric = "top1_agreement",
                    .comparison = Comparison::kGreater,
                    .threshold = 1,
                    .output = "W8A16"}};
  const auto plan = [&] {
    const auto opened = OpenModel(model());
    return *MakePlan(**opened, request);
  }();
  const ExecuteResult result = Run(request, "work");
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    const ExecutedOutput& output = result.outputs[i];
    const std::string text = ReadAll(output.directory + "/manifest.json");
    EXPECT_EQ(static_cast<int64_t>(text.size()),
              plan.outputs[i].layout.manifest_bytes);
    const auto manifest = ParseManifest(text);
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    ASSERT_EQ(manifest->gates.size(), i + 1);
    EXPECT_EQ(manifest->gates[0].gate, "kl_mean <= 100");
    EXPECT_EQ(manifest->gates[0].value, output.metrics.at("kl_mean"));
    EXPECT_TRUE(manifest->gates[0].passed);
    ASSERT_EQ(manifest->evaluation.size(), EvaluationMetrics().size());
    for (const ManifestFigure& figure : manifest->evaluation) {
      EXPECT_EQ(figure.value, output.metrics.at(figure.name)) << figure.name;
    }
    EXPECT_EQ(manifest->sources.back().dataset.use, "evaluation");
    const auto report = VerifyArtifact(output.directory);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(report->problems.empty());
    if (i == 1) {
      EXPECT_FALSE(manifest->gates[1].passed);
      EXPECT_EQ(manifest->gates[1].gate, "top1_agreement > 1 (W8A16)");
    }
  }
}

TEST_F(EvaluatedTest, GatesOnItNeedAText) {
  const auto opened = OpenModel(model());
  PlanRequest request{.outputs = {Small("W8A16", "compressed-tensors")}};
  request.gates = {{.metric = "perplexity_ratio", .threshold = 1.1}};
  const auto plan = MakePlan(**opened, request);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(plan.status().message(), HasSubstr("--evaluate FILE"));
  request.evaluation = Text(4);
  const auto with = MakePlan(**opened, request);
  ASSERT_TRUE(with.ok()) << with.status();
  request.evaluation = nullptr;
  request.gates.clear();
  const auto without = MakePlan(**opened, request);
  EXPECT_GT(with->memory_bound_bytes, 0);
  EXPECT_GE(with->memory_bound_bytes, without->memory_bound_bytes);
  EXPECT_GT(with->disk_bound_bytes, without->disk_bound_bytes);
}

}  // namespace
}  // namespace quant

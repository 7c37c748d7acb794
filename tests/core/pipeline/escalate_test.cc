// Escalation: worst weights first, to the next scheme up, until gates pass or
// nothing is left, within the target, and the same after any stop.
#include "core/pipeline/escalate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/artifact/manifest.h"
#include "core/base/error.h"
#include "core/pipeline/run.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

class EscalateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteModel(model(), LlamaTensors(64, 96, DType::kF32));
  }

  std::string model() const { return dir_ / "model"; }

  static PlanRequest Asks(double min_sqnr_db) {
    OutputRequest output = Request("W3A16");
    output.scheme.group_size = 32;
    output.name = "out";
    return {.outputs = {output},
            .gates = {{.metric = "min_sqnr_db",
                       .comparison = Comparison::kGreaterOrEqual,
                       .threshold = min_sqnr_db}},
            .escalate = true};
  }

  absl::StatusOr<ExecuteResult> Run(const PlanRequest& request,
                                    const std::string& work,
                                    ExecuteOptions options = {}) {
    auto opened = OpenModel(model());
    if (!opened.ok()) return opened.status();
    model_ = *std::move(opened);
    const auto plan = MakePlan(*model_, request);
    if (!plan.ok()) return plan.status();
    plan_ = *plan;
    ThreadPool pool(2);
    options.work_dir = dir_ / work;
    options.pool = &pool;
    options.sync = false;
    return RunPlanned(*model_, request, *plan, options);
  }

  static bool Passes(const PlanRequest& request, const ExecutedOutput& output) {
    return std::all_of(
        request.gates.begin(), request.gates.end(),
        [&](const Gate& gate) { return Judge(gate, output.metrics).passed; });
  }

  static Manifest ManifestOf(const ExecutedOutput& output) {
    const auto manifest =
        ParseManifest(ReadAll(output.directory + "/manifest.json"));
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    return *manifest;
  }

  TempDir dir_;
  std::unique_ptr<ModelReader> model_;
  Plan plan_;
};

TEST_F(EscalateTest, EndsByPassing) {
  const PlanRequest request = Asks(26);
  PlanRequest plain = request;
  plain.escalate = false;
  const auto first = Run(plain, "plain");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(Passes(request, first->outputs[0]));
  const auto result = Run(request, "work");
  ASSERT_TRUE(result.ok()) << result.status();
  const ExecutedOutput& output = result->outputs[0];
  EXPECT_TRUE(Passes(request, output));
  ASSERT_GE(output.steps.size(), 2u);
  // Four bits are near, eight are far: no more than needed was raised.
  EXPECT_LT(output.metrics.at("bits_per_weight"), 12);
  double before = 0;
  std::set<std::string> last;
  for (const EscalationStep& step : output.steps) {
    ASSERT_EQ(step.verdicts.size(), 1u);
    EXPECT_FALSE(step.verdicts[0].passed);
    EXPECT_GE(step.verdicts[0].value, before);
    before = step.verdicts[0].value;
    ASSERT_FALSE(step.tensors.empty());
    for (size_t i = 1; i < step.tensors.size(); ++i) {
      EXPECT_LE(step.tensors[i].relative_error,
                step.tensors[i - 1].relative_error);
    }
    EXPECT_EQ(step.tensors[0].to,
              step.tensors[0].from == "W3A16" ? "W4A16" : "W5A16");
  }
  EXPECT_EQ(output.steps[0].verdicts[0].value,
            first->outputs[0].metrics.at("min_sqnr_db"));
  const std::string manifest = ReadAll(output.directory + "/manifest.json");
  EXPECT_THAT(manifest, ::testing::HasSubstr("\"escalation\""));
  EXPECT_THAT(manifest, ::testing::HasSubstr("\"from\": \"W3A16\""));
  EXPECT_TRUE(ManifestOf(output).gates[0].passed);
  const auto report = VerifyArtifact(output.directory);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->problems.empty());
}

// Parts that loaders merge are raised together.
TEST_F(EscalateTest, MergedModulesStayTogether) {
  const auto result = Run(Asks(26), "work");
  ASSERT_TRUE(result.ok()) << result.status();
  for (const EscalationStep& step : result->outputs[0].steps) {
    std::set<std::string> names;
    for (const RaisedTensor& tensor : step.tensors) names.insert(tensor.name);
    for (const char* layer : {"0", "1"}) {
      const std::string prefix =
          std::string("model.layers.") + layer + ".self_attn.";
      EXPECT_EQ(names.count(prefix + "q_proj.weight"),
                names.count(prefix + "v_proj.weight"));
    }
  }
}

TEST_F(EscalateTest, EndsByExhaustionWithinTheTarget) {
  PlanRequest request = Asks(60);
  auto opened = OpenModel(model());
  ASSERT_TRUE(opened.ok());
  const auto small = MakePlan(**opened, request);
  ASSERT_TRUE(small.ok()) << small.status();
  request.gates.push_back(
      {.metric = "size_bytes",
       .threshold = 1.1 * static_cast<double>(small->outputs[0].total_bytes)});
  const auto result = Run(request, "work");
  ASSERT_TRUE(result.ok()) << result.status();
  const ExecutedOutput& output = result->outputs[0];
  EXPECT_FALSE(Passes(request, output));
  EXPECT_GE(output.steps.size(), 1u);
  EXPECT_LE(output.metrics.at("size_bytes"), request.gates[1].threshold);
  EXPECT_GT(output.metrics.at("size_bytes"), small->outputs[0].total_bytes);
  EXPECT_FALSE(ManifestOf(output).gates[0].passed);
  // The same by a target of the recipe, which already spends what it may.
  request.gates.pop_back();
  request.outputs[0].target = SizeTarget{
      .bytes = static_cast<int64_t>(1.1 * small->outputs[0].total_bytes)};
  const auto target = Run(request, "target");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_LE(target->outputs[0].metrics.at("size_bytes"),
            static_cast<double>(request.outputs[0].target->bytes));
  EXPECT_FALSE(Passes(request, target->outputs[0]));
}

// What a rule decides is not touched: nothing is left in the end.
TEST_F(EscalateTest, EndsByExhaustionAtTheSource) {
  PlanRequest request = Asks(60);
  request.outputs[0].rules = {{.match = "model.layers.1.mlp.down_proj",
                               .scheme = request.outputs[0].scheme}};
  const auto result = Run(request, "work");
  ASSERT_TRUE(result.ok()) << result.status();
  const ExecutedOutput& output = result->outputs[0];
  EXPECT_FALSE(Passes(request, output));
  EXPECT_EQ(output.metrics.at("quantized_tensors"), 1);
  EXPECT_EQ(output.steps.back().tensors.back().to, "");
  // Bounds hold for what it came to.
  PlanRequest top = request;
  top.escalate = false;
  const auto opened = OpenModel(model());
  const auto plain = MakePlan(**opened, top);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_GT(plan_.disk_bound_bytes, plain->disk_bound_bytes);
  EXPECT_GE(plan_.disk_bound_bytes, output.metrics.at("size_bytes"));
}

TEST_F(EscalateTest, GatesOnSizeAreNoReason) {
  PlanRequest request = Asks(0);
  request.gates.push_back({.metric = "size_bytes", .threshold = 10});
  const auto result = Run(request, "work");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->outputs[0].steps.empty());
}

TEST_F(EscalateTest, StoppedAnywhereItEndsWithTheSameBytes) {
  const PlanRequest request = Asks(24);
  const auto expected = Run(request, "undisturbed");
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_GE(expected->outputs[0].steps.size(), 1u);
  double fraction = 0;
  for (int stops = 0;; ++stops) {
    ASSERT_LT(stops, 200);
    std::stop_source stop;
    ExecuteOptions options;
    options.stop = stop.get_token();
    options.journal = [&](int64_t done) {
      if (done % 5 == 4) stop.request_stop();
    };
    fraction = 0;
    options.progress = [&](const ProgressUpdate& update) {
      EXPECT_GE(update.fraction, fraction);
      fraction = update.fraction;
    };
    const auto result = Run(request, "work", options);
    if (result.ok()) {
      EXPECT_EQ(result->outputs[0].steps.size(),
                expected->outputs[0].steps.size());
      break;
    }
    ASSERT_TRUE(absl::IsCancelled(result.status())) << result.status();
  }
  EXPECT_TRUE(ReadTree(dir_ / "work/outputs") ==
              ReadTree(dir_ / "undisturbed/outputs"));
}

}  // namespace
}  // namespace quant

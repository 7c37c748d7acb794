// Reports of a run: as long as planned, the same at any number of threads, and
// true.
#include "core/pipeline/reports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/artifact/manifest.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

class ReportsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteModel(model(), LlamaTensors(64, 96, DType::kF32));
  }
  std::string model() const { return dir_ / "model"; }

  static PlanRequest Asks(const std::string& scheme,
                          const std::string& format) {
    OutputRequest output = Request(scheme, format);
    if (scheme[0] == 'W') output.scheme.group_size = 32;
    output.name = "out";
    return {.outputs = {output},
            .gates = {{.metric = "min_sqnr_db",
                       .comparison = Comparison::kGreaterOrEqual,
                       .threshold = 15}},
            .report = true};
  }

  TempDir dir_;
};

TEST_F(ReportsTest, AreFilesOfTheArtifactWithTheirPlannedSizes) {
  for (const auto& [scheme, format] :
       std::vector<std::pair<const char*, const char*>>{
           {"W4A16", "compressed-tensors"}, {"W8A16", "gptq"}}) {
    const PlanRequest request = Asks(scheme, format);
    const auto opened = OpenModel(model());
    const auto plan = MakePlan(**opened, request);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto one = RunPipeline(model(), request, dir_ / "one", 1);
    const auto three = RunPipeline(model(), request, dir_ / "three", 3);
    ASSERT_TRUE(one.ok()) << one.status();
    ASSERT_TRUE(three.ok()) << three.status();
    EXPECT_TRUE(ReadTree(dir_ / "one/outputs") ==
                ReadTree(dir_ / "three/outputs"));
    const std::string& directory = one->outputs[0].directory;
    const auto report = VerifyArtifact(directory);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(report->problems.empty());
    int64_t bytes = 0;
    for (const PlannedFile& file : plan->outputs[0].files) {
      EXPECT_EQ(
          static_cast<int64_t>(ReadAll(directory + "/" + file.path).size()),
          file.size_bytes);
      bytes += file.size_bytes;
    }
    EXPECT_EQ(bytes, plan->outputs[0].total_bytes);
    EXPECT_THAT(ReadAll(directory + "/report.html"), HasSubstr(scheme));
  }
}

TEST_F(ReportsTest, SayWhatTheRunFound) {
  const PlanRequest request = Asks("W4A16", "compressed-tensors");
  const auto result = RunPipeline(model(), request, dir_ / "work");
  ASSERT_TRUE(result.ok()) << result.status();
  const ExecutedOutput& output = result->outputs[0];
  const auto json =
      nlohmann::json::parse(ReadAll(output.directory + "/report.json"));
  double worst = 1e9;
  int quantized = 0;
  for (const auto& tensor : json["tensors"]) {
    if (!tensor.contains("sqnr_db")) continue;
    ++quantized;
    worst = std::min(worst, tensor["sqnr_db"].get<double>());
    EXPECT_EQ(tensor["scheme"], "W4A16");
    EXPECT_GT(tensor["bits_per_weight"], 4);
  }
  EXPECT_EQ(quantized, output.metrics.at("quantized_tensors"));
  EXPECT_EQ(worst, output.metrics.at("min_sqnr_db"));
  EXPECT_EQ(json["gates"][0]["value"], output.metrics.at("min_sqnr_db"));
  EXPECT_EQ(json["total_bytes"], output.metrics.at("size_bytes"));
  ASSERT_EQ(json["histograms"]["roles"].size(), 7u);
  for (const auto& role : json["histograms"]["roles"]) {
    const auto source = role["source"].get<std::vector<int64_t>>();
    const auto made = role["quantized"].get<std::vector<int64_t>>();
    const int64_t all = std::accumulate(source.begin(), source.end(), 0LL);
    EXPECT_EQ(all, std::accumulate(made.begin(), made.end(), 0LL));
    // 16 rows of two layers; weights are normal.
    EXPECT_GE(all, 2 * 16 * 64);
    const int64_t middle =
        std::accumulate(source.begin() + 20, source.begin() + 28, 0LL);
    EXPECT_NEAR(static_cast<double>(middle) / static_cast<double>(all), 0.683,
                0.05);
    EXPECT_NE(source, made);
  }
}

}  // namespace
}  // namespace quant

// Jobs whose calibration ran before: what statistics give in the place of the
// text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/artifact/manifest.h"
#include "core/base/error.h"
#include "core/calibrate/statistics_files.h"
#include "core/container/model_reader.h"
#include "core/pipeline/request_files.h"
#include "tests/core/pipeline/network_models.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

OutputRequest GptqRequest() {
  OutputRequest request = Request("W4A16");
  request.method = "gptq";
  request.scheme.group_size = 32;
  return request;
}

class StatisticsTest : public ::testing::Test {
 protected:
  using Tree = std::map<std::string, std::string>;

  void Write(const std::string& model, bool hessians = true) {
    auto opened = OpenModel(model);
    ASSERT_TRUE(opened.ok()) << opened.status();
    model_ = *std::move(opened);
    ThreadPool pool(2);
    RunOptions options;
    options.pool = &pool;
    const auto written = WriteStatistics(
        *model_, *Text(12),
        {.directory = statistics_, .hessians = hessians, .overwrite = true},
        options);
    ASSERT_TRUE(written.ok()) << written.status();
  }

  absl::StatusOr<OutputRequest> ByStatistics(OutputRequest request) {
    PlanRequest all{.outputs = {std::move(request)}};
    const absl::Status status =
        LoadCalibration(*model_, {.path = statistics_}, all);
    if (!status.ok()) return status;
    return all.outputs[0];
  }

  Tree Run(const OutputRequest& request, const std::string& work,
           int threads = 2) {
    const auto result = RunPipeline(model_->path(), {.outputs = {request}},
                                    dir_ / work, threads);
    EXPECT_TRUE(result.ok()) << result.status();
    Tree tree = ReadTree(dir_ / work + "/outputs");
    const std::string manifest = request.name + "/manifest.json";
    manifest_ = std::move(tree.at(manifest));
    tree.erase(manifest);
    return tree;
  }

  // The same bytes by the text and by what was kept of it.
  void ExpectTheSame(const OutputRequest& request) {
    OutputRequest by_text = request;
    by_text.calibration = Text(12);
    const Tree expected = Run(by_text, request.name + "-text");
    const auto stored = ByStatistics(request);
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(Run(*stored, request.name + "-one", 1), expected);
    EXPECT_EQ(Run(*stored, request.name + "-three", 3), expected);
    EXPECT_THAT(manifest_, HasSubstr(kStatisticsName));
    EXPECT_THAT(manifest_, HasSubstr(Text(12)->data.digest));
  }

  TempDir dir_;
  std::string statistics_ = dir_ / "statistics";
  std::unique_ptr<ModelReader> model_;
  std::string manifest_;
};

// Static activations see the source as it is, with text and without.
TEST_F(StatisticsTest, GiveTheSameStaticActivations) {
  WriteModel(dir_ / "model", Llama(DType::kF32), 1, Config("Llama"));
  Write(dir_ / "model", /*hessians=*/false);
  ExpectTheSame(Request("W8A8_STATIC"));
}

// Nothing is quantized before the first block.
TEST_F(StatisticsTest, GiveTheSameCodesOfOneBlock) {
  std::string config = Config("Llama");
  const std::string layers = "\"num_hidden_layers\": 2";
  config.replace(config.find(layers), layers.size(),
                 "\"num_hidden_layers\": 1");
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor : Llama(DType::kF32)) {
    if (tensor.name.find("layers.1.") == std::string::npos) {
      tensors.push_back(tensor);
    }
  }
  WriteModel(dir_ / "model", tensors, 1, config);
  Write(dir_ / "model");
  ExpectTheSame(GptqRequest());
  OutputRequest smoothquant = Request("W8A8");
  smoothquant.method = "smoothquant";
  ExpectTheSame(smoothquant);
}

TEST_F(StatisticsTest, AreRefusedWhereTheyDoNotServe) {
  WriteModel(dir_ / "model", Llama(DType::kF32), 1, Config("Llama"));
  Write(dir_ / "model", /*hessians=*/false);
  OutputRequest request = GptqRequest();
  EXPECT_THAT(ByStatistics(request).status().message(),
              HasSubstr("without Hessians"));
  Write(dir_ / "model");
  EXPECT_TRUE(ByStatistics(request).ok());
  request.true_sequential = true;
  EXPECT_THAT(ByStatistics(request).status().message(),
              HasSubstr("true_sequential"));
}

TEST_F(StatisticsTest, OfOtherWeightsStopTheJob) {
  WriteModel(dir_ / "model", Llama(DType::kF32), 1, Config("Llama"));
  Write(dir_ / "model");
  OutputRequest request = GptqRequest();
  const auto stored = ByStatistics(request);
  ASSERT_TRUE(stored.ok()) << stored.status();
  WriteModel(dir_ / "other", Llama(DType::kBF16), 1, Config("Llama"));
  const auto result =
      RunPipeline(dir_ / "other", {.outputs = {*stored}}, dir_ / "work", 2);
  EXPECT_EQ(GetReason(result.status()), Reason::kSourceChanged)
      << result.status();
}

// Their names fit, their columns don't.
TEST_F(StatisticsTest, OfAnotherShapeStopTheSurvey) {
  std::vector<TensorSpec> wide = LlamaTensors(kHidden, 2 * kWidth, DType::kF32);
  for (int i = 0; i < 2; ++i) {
    wide.push_back(
        {absl::StrCat("model.layers.", i, ".post_attention_layernorm.weight"),
         {kHidden},
         DType::kF32});
  }
  std::string config = Config("Llama");
  const std::string width = "\"intermediate_size\": 96";
  config.replace(config.find(width), width.size(),
                 "\"intermediate_size\": 192");
  WriteModel(dir_ / "wide", wide, 1, config);
  Write(dir_ / "wide", /*hessians=*/false);
  const auto stored = ByStatistics(Request("W8A8_STATIC"));
  ASSERT_TRUE(stored.ok()) << stored.status();
  WriteModel(dir_ / "model", Llama(DType::kF32), 1, Config("Llama"));
  const auto result =
      RunPipeline(dir_ / "model", {.outputs = {*stored}}, dir_ / "work", 2);
  EXPECT_EQ(GetReason(result.status()), Reason::kSourceChanged)
      << result.status();
  EXPECT_THAT(result.status().message(), HasSubstr("192 columns; it has 96"));
}

}  // namespace
}  // namespace quant

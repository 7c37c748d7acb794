// The plan is a promise: what Execute writes is what was planned, to the byte,
// for every preset and format, and the same on every CPU and thread count.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/artifact/manifest.h"
#include "core/base/digest.h"
#include "core/kernels/targets.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

// Every scheme with every format that takes it, of those formats that can share
// one read.
std::vector<OutputRequest> AllRequests(
    TensorNames names = TensorNames::kSource) {
  std::vector<OutputRequest> requests;
  for (const Preset& preset : Presets()) {
    // These need text and a network: survey_test.cc.
    if (IsStatic(preset.scheme.activations)) continue;
    for (const FormatInfo& format : Formats()) {
      if ((*FindFormat(format.name))->Names() != names) continue;
      OutputRequest request =
          Request(preset.scheme.name, std::string(format.name));
      request.on_mismatch = OnMismatch::kSkip;
      request.name = preset.scheme.name + "-" + request.format;
      if ((*FindFormat(format.name))->CheckScheme(request.scheme).ok()) {
        requests.push_back(request);
      }
    }
  }
  return requests;
}

void ExpectAsPlanned(const OutputPlan& plan, const ExecutedOutput& output) {
  const auto files = ReadTree(output.directory);
  int64_t total = 0;
  ASSERT_EQ(files.size(), plan.files.size()) << output.name;
  ASSERT_EQ(output.files.size(), plan.files.size());
  for (size_t i = 0; i < plan.files.size(); ++i) {
    const PlannedFile& planned = plan.files[i];
    const auto it = files.find(planned.path);
    ASSERT_NE(it, files.end()) << output.name << " lacks " << planned.path;
    EXPECT_EQ(static_cast<int64_t>(it->second.size()), planned.size_bytes)
        << output.name << " " << planned.path;
    total += planned.size_bytes;
    EXPECT_EQ(output.files[i].path, planned.path);
    EXPECT_EQ(output.files[i].size_bytes, planned.size_bytes);
    EXPECT_EQ(output.files[i].sha256, Sha256Hex(it->second)) << planned.path;
  }
  EXPECT_EQ(total, plan.total_bytes);
  EXPECT_EQ(output.metrics.at("size_bytes"), static_cast<double>(total));
  const auto report = VerifyArtifact(output.directory);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->problems.empty()) << report->problems[0];
}

// Runs one request and checks everything that was promised.
void ExpectPromiseKept(const std::string& model, const OutputRequest& request) {
  const auto plan = PlanModel(model, {request});
  if (!plan.ok()) {
    // On a ragged model every tensor may be skipped, which is refused.
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kFailedPrecondition)
        << plan.status();
    return;
  }
  TempDir work;
  const auto result = RunPipeline(model, {.outputs = {request}}, work.path());
  ASSERT_TRUE(result.ok()) << request.name << " " << result.status();
  ASSERT_NO_FATAL_FAILURE(
      ExpectAsPlanned(plan->outputs[0], result->outputs[0]));
  EXPECT_EQ(result->tensors_resumed, 0);
  EXPECT_EQ(result->tensors_redone, 0);
  // A loader of the container reads it, and finds the planned tensors.
  const auto artifact = OpenModel(result->outputs[0].directory);
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  std::map<std::string, const OutputTensor*> planned;
  for (const TensorPlan& tensor : plan->outputs[0].tensors) {
    EXPECT_FALSE(tensor.reason.empty());
    for (const OutputTensor& output : tensor.outputs) {
      planned[output.name] = &output;
    }
  }
  ASSERT_EQ((*artifact)->tensors().size(), planned.size());
  for (const TensorEntry& tensor : (*artifact)->tensors()) {
    ASSERT_TRUE(planned.count(tensor.name)) << tensor.name;
    EXPECT_EQ(tensor.dtype, planned[tensor.name]->dtype) << tensor.name;
    EXPECT_EQ(tensor.shape, planned[tensor.name]->shape) << tensor.name;
    EXPECT_EQ(tensor.offset, planned[tensor.name]->offset) << tensor.name;
  }
}

// All of them from one read: models are many and tests are to be quick.
TEST(Promise, EveryPresetAndFormatOnRealModels) {
  for (const std::string& model : RealModels()) {
    SCOPED_TRACE(model);
    std::vector<OutputRequest> requests;
    for (const OutputRequest& request : AllRequests()) {
      if (PlanModel(model, {request}).ok()) requests.push_back(request);
    }
    ASSERT_GE(requests.size(), 10u);
    const auto plan = PlanModel(model, requests);
    ASSERT_TRUE(plan.ok()) << plan.status();
    TempDir work;
    const auto result = RunPipeline(model, {.outputs = requests}, work.path());
    ASSERT_TRUE(result.ok()) << result.status();
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_NO_FATAL_FAILURE(
          ExpectAsPlanned(plan->outputs[i], result->outputs[i]));
    }
  }
}

TEST(Promise, EveryPresetAndFormatOnRaggedModels) {
  TempDir dir;
  int id = 0;
  for (DType dtype : {DType::kBF16, DType::kF16, DType::kF32, DType::kF64}) {
    for (auto [hidden, ffn] : {std::pair{128, 172}, {130, 256}, {2, 1}}) {
      const std::string model = dir / std::to_string(id++);
      std::vector<TensorSpec> tensors = LlamaTensors(hidden, ffn, dtype);
      tensors.push_back({"model.layers.0.self_attn.q_proj.bias", {7}, dtype});
      tensors.push_back({"model.rotary.inv_freq", {}, DType::kF32});
      tensors.push_back({"model.position_ids", {1, 33}, DType::kI64});
      tensors.push_back({"model.mask", {5}, DType::kU8});
      tensors.push_back({"model.nothing.weight", {0, 128}, dtype});
      tensors.push_back({"model.experts.weight", {3, 4, 128}, dtype});
      WriteModel(model, tensors, 1 + id % 3);
      for (const OutputRequest& request : AllRequests()) {
        ASSERT_NO_FATAL_FAILURE(ExpectPromiseKept(model, request))
            << DTypeName(dtype) << " " << hidden << " " << ffn;
      }
    }
  }
}

// Tensors of several tiles, so that threads have something to get wrong.
std::string BigModel(const TempDir& dir) {
  std::vector<TensorSpec> tensors = LlamaTensors(256, 1024, DType::kBF16, 1);
  tensors.push_back({"model.layers.1.mlp.down_proj.weight", {1030, 1024}});
  tensors.push_back({"model.layers.1.copied", {1 << 20}});
  WriteModel(dir / "model", tensors);
  return dir / "model";
}

TEST(Promise, ThreadsDoNotShow) {
  TempDir dir;
  const std::string model = BigModel(dir);
  for (const char* scheme : {"W4A16", "W4A16_ASYM", "FP8_BLOCK", "W8A8"}) {
    OutputRequest request = Request(scheme);
    request.scale = scheme[1] == '4' ? ScaleRule::kMse : ScaleRule::kMinmax;
    request.on_mismatch = OnMismatch::kChannel;
    if (std::string(scheme) == "W8A8") {
      request.scheme.granularity = Granularity::kTensor;
      request.scale = ScaleRule::kMse;
    }
    std::map<std::string, std::string> first;
    std::map<std::string, double> metrics;
    for (int threads : {1, 2, 3, 7}) {
      TempDir work;
      const auto result =
          RunPipeline(model, {.outputs = {request}}, work.path(), threads);
      ASSERT_TRUE(result.ok()) << result.status();
      const auto files = ReadTree(result->outputs[0].directory);
      if (first.empty()) {
        first = files;
        metrics = result->outputs[0].metrics;
      }
      EXPECT_TRUE(files == first) << scheme << " at " << threads;
      EXPECT_EQ(result->outputs[0].metrics, metrics) << scheme;
    }
  }
}

TEST(Promise, CpusDoNotShow) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(256, 640, DType::kBF16, 1));
  const std::string model = dir / "model";
  std::vector<OutputRequest> requests = AllRequests();
  OutputRequest searched = Request("W4A16_ASYM");
  searched.name = "searched";
  searched.scale = ScaleRule::kMse;
  searched.scheme.granularity = Granularity::kTensor;
  requests.push_back(searched);
  std::map<std::string, std::string> first;
  std::vector<std::map<std::string, double>> metrics;
  for (const std::string& target : KernelTargets()) {
    ForceKernelTarget(target);
    TempDir work;
    const auto result = RunPipeline(model, {.outputs = requests}, work.path());
    ForceKernelTarget("");
    ASSERT_TRUE(result.ok()) << result.status();
    std::vector<std::map<std::string, double>> found;
    for (const auto& output : result->outputs) found.push_back(output.metrics);
    const auto files = ReadTree(work / "outputs");
    if (first.empty()) {
      first = files;
      metrics = found;
    }
    EXPECT_TRUE(files == first) << target;
    EXPECT_EQ(found, metrics) << target;
  }
}

TEST(Promise, OneReadOfManyOutputsEqualsSeparateRuns) {
  TempDir dir;
  const std::string model = BigModel(dir);
  std::vector<OutputRequest> requests = {
      Request("W4A16"), Request("W4A16_ASYM"), Request("FP8_DYNAMIC"),
      Request("BF16", "safetensors"), Request("W3A16", "dequantized")};
  requests[1].rules = {{"mlp.down", std::nullopt}};
  TempDir together;
  const auto all = RunPipeline(model, {.outputs = requests}, together.path());
  ASSERT_TRUE(all.ok()) << all.status();
  for (size_t i = 0; i < requests.size(); ++i) {
    TempDir alone;
    const auto one =
        RunPipeline(model, {.outputs = {requests[i]}}, alone.path());
    ASSERT_TRUE(one.ok()) << one.status();
    EXPECT_TRUE(ReadTree(one->outputs[0].directory) ==
                ReadTree(all->outputs[i].directory))
        << requests[i].name;
  }
}

TEST(Promise, ShardsAreAsLargeAsAskedAndTensorsStayWhole) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(128, 256));
  OutputRequest request = Request("W8A16");
  for (int64_t most : {1, 20'000, 60'000, 1'000'000'000}) {
    request.max_shard_bytes = most;
    ASSERT_NO_FATAL_FAILURE(ExpectPromiseKept(dir / "model", request)) << most;
    const auto plan = *PlanModel(dir / "model", {request});
    std::vector<int64_t> filled(plan.outputs[0].layout.files.size(), 0);
    std::vector<int> parts(filled.size(), 0);
    for (const TensorPlan& tensor : plan.outputs[0].tensors) {
      const int file = tensor.outputs[0].file;
      filled[file] += tensor.output_bytes;
      ++parts[file];
      for (const OutputTensor& output : tensor.outputs) {
        EXPECT_EQ(output.file, file) << output.name;
      }
    }
    for (size_t i = 0; i < filled.size(); ++i) {
      EXPECT_TRUE(filled[i] <= most || parts[i] == 1) << i;
    }
    EXPECT_EQ(filled.size() == 1, most == 1'000'000'000);
  }
}

// A model of one tensor per shard must not make a plan that no reader opens,
// nor one that takes forever.
TEST(Promise, MoreShardsThanReadersTakeAreRefused) {
  TempDir dir;
  std::vector<TensorSpec> tensors;
  for (int i = 0; i < 10'050; ++i) {
    tensors.push_back({"m." + std::to_string(i) + ".weight", {1, 2}});
  }
  WriteModel(dir / "model", tensors);
  OutputRequest request = Request("W8A8");
  request.max_shard_bytes = 1;
  const auto plan = PlanModel(dir / "model", {request});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(plan.status().message().find("max_shard_bytes"), std::string::npos)
      << plan.status();
}

TEST(Promise, SourceDigestsAreInTheManifestWhenAsked) {
  TempDir dir, work;
  WriteModel(dir / "model", LlamaTensors(128, 128), 2);
  OutputRequest request = Request("W4A16");
  request.source_digest = true;
  const auto result =
      RunPipeline(dir / "model", {.outputs = {request}}, work.path());
  ASSERT_TRUE(result.ok()) << result.status();
  const auto manifest = nlohmann::json::parse(
      ReadAll(result->outputs[0].directory + "/manifest.json"));
  ASSERT_EQ(manifest["sources"].size(), 2u);
  for (const auto& source : manifest["sources"]) {
    EXPECT_EQ(
        source["sha256"],
        Sha256Hex(ReadAll(dir / "model/" + source["name"].get<std::string>())));
  }
  EXPECT_EQ(manifest["recipe"]["scheme"], "W4A16");
}

}  // namespace
}  // namespace quant

// GGUF artifacts: the plan is a promise for them, too.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <list>
#include <map>

#include "absl/strings/str_format.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/container/gguf_model.h"
#include "core/pipeline/request_files.h"
#include "core/pipeline/sample_error.h"
#include "core/transform/dequantized_model.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

std::vector<OutputRequest> GgufRequests() {
  std::vector<OutputRequest> requests;
  for (const Preset& preset : Presets()) {
    if (!(*FindFormat("gguf"))->CheckScheme(preset.scheme).ok()) continue;
    requests.push_back(Request(preset.scheme.name, "gguf"));
    requests.back().max_shard_bytes = std::numeric_limits<int64_t>::max();
  }
  return requests;
}

void ExpectAsPlanned(const OutputPlan& plan, const ExecutedOutput& output) {
  const auto files = ReadTree(output.directory);
  ASSERT_EQ(files.size(), plan.files.size());
  for (const PlannedFile& planned : plan.files) {
    ASSERT_TRUE(files.count(planned.path)) << planned.path;
    EXPECT_EQ(static_cast<int64_t>(files.at(planned.path).size()),
              planned.size_bytes)
        << planned.path;
  }
  const auto model = OpenModel(output.directory);
  ASSERT_TRUE(model.ok()) << model.status();
  std::map<std::string, const OutputTensor*> tensors;
  for (const TensorPlan& tensor : plan.tensors) {
    EXPECT_FALSE(tensor.reason.empty());
    for (const OutputTensor& planned : tensor.outputs) {
      tensors[planned.name] = &planned;
    }
  }
  ASSERT_EQ((*model)->tensors().size(), tensors.size());
  for (const TensorEntry& tensor : (*model)->tensors()) {
    ASSERT_TRUE(tensors.count(tensor.name)) << tensor.name;
    EXPECT_EQ(tensor.block_type, tensors[tensor.name]->block_type);
    EXPECT_EQ(tensor.shape, tensors[tensor.name]->shape) << tensor.name;
    EXPECT_EQ(tensor.offset, tensors[tensor.name]->offset) << tensor.name;
  }
}

TEST(GgufPromise, EveryFileTypeOfRealModelsIsAsPlannedAtAnyThreadCount) {
  for (const std::string& model : RealModels()) {
    SCOPED_TRACE(model);
    const std::vector<OutputRequest> requests = GgufRequests();
    ASSERT_GE(requests.size(), 10u);
    const auto plan = PlanModel(model, requests);
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::map<std::string, std::string> first;
    for (int threads : {1, 3}) {
      TempDir work;
      const auto result =
          RunPipeline(model, {.outputs = requests}, work.path(), threads);
      ASSERT_TRUE(result.ok()) << result.status();
      for (size_t i = 0; i < requests.size(); ++i) {
        ASSERT_NO_FATAL_FAILURE(
            ExpectAsPlanned(plan->outputs[i], result->outputs[i]))
            << requests[i].scheme.name;
      }
      const auto files = ReadTree(work / "outputs");
      if (first.empty()) first = files;
      EXPECT_TRUE(files == first) << threads;
    }
  }
}

class GgufPipeline : public ::testing::Test {
 protected:
  // An artifact of the bundled model, in a directory of its own.
  std::string Make(const std::string& source, const OutputRequest& request) {
    TempDir& work = works_.emplace_back();
    const auto result =
        RunPipeline(source, {.outputs = {request}}, work.path());
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->outputs[0].directory : "";
  }

  OutputRequest Gguf(const char* scheme) const {
    OutputRequest request = Request(scheme, "gguf");
    request.max_shard_bytes = std::numeric_limits<int64_t>::max();
    return request;
  }

  std::list<TempDir> works_;
  const std::string model_ = RealModels()[0];
};

TEST_F(GgufPipeline, WhatWasF16BecomesWhatTheCheckpointBecomes) {
  // BF16 weights of a trained model are exact in F32.
  const std::string plain = Make(model_, Gguf("F32"));
  const std::string direct = Make(model_, Gguf("Q4_0"));
  const std::string late = Make(plain, Gguf("Q4_0"));
  EXPECT_EQ(Sha256Hex(ReadTree(direct)["model-Q4_0.gguf"]),
            Sha256Hex(ReadTree(late)["model-Q4_0.gguf"]));
}

TEST_F(GgufPipeline, CodesAreRequantizedOnlyWhenAllowed) {
  const std::string quantized = Make(model_, Gguf("Q8_0"));
  OutputRequest request = Gguf("Q4_0");
  const auto refused = PlanModel(quantized, {request});
  EXPECT_EQ(GetReason(refused.status()), Reason::kPlanRefused);
  EXPECT_NE(refused.status().message().find("allow"), std::string::npos);
  request.allow_requantize = true;
  EXPECT_TRUE(PlanModel(quantized, {request}).ok());
  // Values are free: nothing more is lost.
  EXPECT_TRUE(PlanModel(quantized, {Gguf("F32")}).ok());
}

TEST_F(GgufPipeline, SplitFilesAreOneModel) {
  OutputRequest request = Gguf("Q8_0");
  const std::string whole = Make(model_, request);
  request.max_shard_bytes = 500'000;
  const std::string split = Make(model_, request);
  const auto files = ReadTree(split);
  EXPECT_GT(files.size(), 4u);
  EXPECT_TRUE(files.count(
      absl::StrFormat("model-Q8_0-00001-of-%05d.gguf", files.size() - 1)));
  const auto a = OpenModel(whole), b = OpenModel(split);
  ASSERT_TRUE(b.ok()) << b.status();
  ASSERT_EQ((*a)->tensors().size(), (*b)->tensors().size());
  EXPECT_TRUE(std::equal((*a)->kvs().begin(), (*a)->kvs().end(),
                         (*b)->kvs().begin(), (*b)->kvs().end()));
  for (size_t i = 0; i < (*a)->tensors().size(); ++i) {
    const TensorEntry& x = (*a)->tensors()[i];
    const TensorEntry& y = (*b)->tensors()[i];
    std::vector<uint8_t> left(x.bytes), right(y.bytes);
    ASSERT_TRUE((*a)->Read(x, 0, absl::MakeSpan(left)).ok());
    ASSERT_TRUE((*b)->Read(y, 0, absl::MakeSpan(right)).ok());
    EXPECT_EQ(left, right) << x.name;
  }
}

TEST_F(GgufPipeline, RulesGoBeforeThePolicy) {
  OutputRequest request = Gguf("Q4_0");
  request.rules = {{"blk.0.ffn_down", *FindScheme("Q8_0")},
                   {"blk.1.ffn_up", std::nullopt}};
  const auto plan = PlanModel(model_, {request});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const TensorPlan& tensor : plan->outputs[0].tensors) {
    const std::string& name = tensor.outputs[0].name;
    if (name == "blk.0.ffn_down.weight") {
      EXPECT_EQ(tensor.outputs[0].block_type, GgmlType::kQ8_0);
    } else if (name == "blk.1.ffn_up.weight") {
      EXPECT_FALSE(tensor.quantized);
    } else if (name == "blk.1.ffn_down.weight") {
      EXPECT_EQ(tensor.outputs[0].block_type, GgmlType::kQ4_0);
    }
  }
}

// An older-form matrix for one weight: i32 entries; name; calls; values; f32s.
std::string Matrix(const std::string& name, int columns) {
  std::string out;
  const auto number = [&out](int32_t value) {
    out.append(reinterpret_cast<const char*>(&value), 4);
  };
  number(1);
  number(static_cast<int32_t>(name.size()));
  out += name;
  number(1);
  number(columns);
  for (int i = 0; i < columns; ++i) {
    const float value = i % 2 == 0 ? 100.0f : 0.01f;
    out.append(reinterpret_cast<const char*>(&value), 4);
  }
  return out;
}

// Errors in columns that matter get smaller, those in others larger.
TEST_F(GgufPipeline, AnImportanceMatrixMovesTheErrorToWhereItMattersLess) {
  const std::string name = "blk.0.attn_q.weight";
  TempDir dir;
  WriteAll(dir / "imatrix.dat", Matrix(name, 256));
  PlanRequest request{.outputs = {Gguf("Q4_0")}};
  ASSERT_TRUE(LoadImportance(dir / "imatrix.dat", request).ok());
  const auto values = [&](const std::string& directory) {
    const auto model = OpenModel(Make(directory, Gguf("F32")));
    for (const TensorEntry& tensor : (*model)->tensors()) {
      if (tensor.name != name) continue;
      std::vector<float> out(tensor.bytes / 4);
      EXPECT_TRUE((*model)
                      ->Read(tensor, 0,
                             {reinterpret_cast<uint8_t*>(out.data()),
                              static_cast<size_t>(tensor.bytes)})
                      .ok());
      return out;
    }
    return std::vector<float>();
  };
  const auto error = [](const std::vector<float>& x,
                        const std::vector<float>& y) {
    double even = 0;
    for (size_t i = 0; i < x.size(); i += 2) {
      even += std::pow(double{x[i]} - y[i], 2);
    }
    return even;
  };
  const std::vector<float> original = values(model_);
  ASSERT_EQ(original.size(), 256u * 256);
  const std::string weighted = Make(model_, request.outputs[0]);
  EXPECT_LT(error(values(weighted), original),
            0.95 * error(values(Make(model_, Gguf("Q4_0"))), original));
  const auto model = OpenModel(weighted);
  EXPECT_EQ(*GetGguf<std::string>((*model)->kvs(), "quantize.imatrix.file"),
            "imatrix.dat");
}

// Size targets weigh errors as encoders do.
TEST_F(GgufPipeline, SampledErrorsAreWeightedByImportance) {
  const std::string name = "blk.0.attn_q.weight";
  TempDir dir;
  WriteAll(dir / "imatrix.dat", Matrix(name, 256));
  PlanRequest request{.outputs = {Gguf("Q4_0")}};
  ASSERT_TRUE(LoadImportance(dir / "imatrix.dat", request).ok());
  const auto values = [&](const OutputRequest& output) {
    const auto model = OpenModel(Make(model_, output));
    std::vector<float> out;
    for (const TensorEntry& tensor : (*model)->tensors()) {
      if (tensor.name != name) continue;
      const auto floats = DequantizedModel(**model);
      for (const TensorEntry& entry : (*floats)->tensors()) {
        if (entry.name != name) continue;
        out.resize(entry.bytes / 4);
        EXPECT_TRUE((*floats)
                        ->Read(entry, 0,
                               {reinterpret_cast<uint8_t*>(out.data()),
                                static_cast<size_t>(entry.bytes)})
                        .ok());
      }
    }
    return out;
  };
  const std::vector<float> x = values(Gguf("F32"));
  const std::vector<float> back = values(request.outputs[0]);
  ASSERT_EQ(x.size(), 256u * 256);
  ASSERT_EQ(back.size(), x.size());
  double weighted = 0, plain = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double error = double{back[i]} - x[i];
    plain += error * error;
    weighted += (i % 2 == 0 ? 100.0 : 0.01) / 50.005 * error * error;
  }
  const auto source = OpenModel(model_);
  const auto plan = MakePlan(**source, request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const ModelReader& view = ViewedModel(**source, *plan);
  int index = 0;
  while (view.tensors()[index].name != name) ++index;
  const auto sampled =
      SampleErrors(view, index, request.outputs[0], {*FindScheme("Q4_0")});
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  EXPECT_NEAR(sampled->noise[0] / weighted, 1, 0.1);
  EXPECT_GT(std::abs(sampled->noise[0] / plain - 1), 0.2);
}

// The same target, but errors count where inputs are: other choices.
TEST_F(GgufPipeline, TargetsFollowTheImportanceMatrix) {
  TempDir dir;
  WriteAll(dir / "imatrix.dat", Matrix("blk.0.attn_q.weight", 256));
  PlanRequest request{.outputs = {Gguf("Q4_K_M")}};
  request.outputs[0].target = {.bits_per_weight = 5};
  const auto source = OpenModel(model_);
  const auto even = MakePlan(**source, request);
  ASSERT_TRUE(even.ok()) << even.status();
  ASSERT_TRUE(LoadImportance(dir / "imatrix.dat", request).ok());
  const auto weighted = MakePlan(**source, request);
  ASSERT_TRUE(weighted.ok()) << weighted.status();
  const auto error = [](const Plan& plan) {
    for (const SizeChoice& choice : plan.outputs[0].frontier) {
      if (choice.planned) return choice.relative_error;
    }
    return 0.0;
  };
  EXPECT_LT(error(*weighted), error(*even));
  EXPECT_LE(weighted->outputs[0].bits_per_weight, 5);
}

TEST_F(GgufPipeline, AMatrixOfAnotherModelIsRefusedBeforeWork) {
  TempDir dir;
  WriteAll(dir / "imatrix.dat", Matrix("blk.0.attn_q.weight", 64));
  PlanRequest request{.outputs = {Gguf("Q4_0")}};
  ASSERT_TRUE(LoadImportance(dir / "imatrix.dat", request).ok());
  const auto plan = PlanModel(model_, request.outputs);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument)
      << plan.status();
}

TEST_F(GgufPipeline, FormatsOfOtherNamesAreAnotherJob) {
  const auto plan = PlanModel(model_, {Gguf("Q4_0"), Request("W4A16")});
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetField(plan.status()), "outputs[1].recipe.format");
}

}  // namespace
}  // namespace quant

// Size targets: met to the byte, with one scheme per merged module, the same in
// every run, and the error that they promise.
#include "core/pipeline/allocate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/pipeline/candidates.h"
#include "core/pipeline/sample_error.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

class AllocateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteModel(model_, LlamaTensors(256, 512, DType::kBF16, 4));
  }

  OutputRequest Bytes(int64_t bytes, const std::string& scheme = "W4A16") {
    OutputRequest request = Request(scheme);
    request.target = {.bytes = bytes};
    return request;
  }

  OutputRequest Bits(double bits) {
    OutputRequest request = Request("W4A16");
    request.target = {.bits_per_weight = bits};
    return request;
  }

  int64_t SizeOf(const std::string& scheme) {
    const auto plan = PlanModel(model_, {Request(scheme)});
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan->outputs[0].total_bytes;
  }

  OutputPlan PlanOf(const OutputRequest& request) {
    const auto plan = PlanModel(model_, {request});
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? plan->outputs[0] : OutputPlan();
  }

  // Module -> scheme, for the tensors that the target decided about.
  std::map<std::string, std::string> Chosen(const OutputPlan& plan) {
    const auto opened = OpenModel(model_);
    std::map<std::string, std::string> chosen;
    for (const TensorPlan& tensor : plan.tensors) {
      if (!absl::StartsWith(tensor.reason, "target ")) continue;
      chosen[(*opened)->tensors()[tensor.source].name] =
          tensor.quantized ? tensor.scheme.name : "as it is";
    }
    return chosen;
  }

  TempDir dir_;
  const std::string model_ = dir_ / "model";
};

TEST_F(AllocateTest, TargetsAreMetAndUsedUp) {
  const int64_t least = SizeOf("W2A16"), most = SizeOf("W8A16");
  for (int part = 0; part <= 12; ++part) {
    const int64_t target = least + (most - least) * part / 12;
    const OutputPlan plan = PlanOf(Bytes(target));
    EXPECT_LE(plan.total_bytes, target);
    // The largest step that one tensor can take is 8 bits of 256 x 512.
    EXPECT_GE(plan.total_bytes, target - 256 * 512) << part;
  }
}

TEST_F(AllocateTest, WhatIsWrittenIsWhatWasPlanned) {
  const int64_t target = (SizeOf("W3A16") + SizeOf("W4A16")) / 2;
  const auto plan = PlanModel(model_, {Bytes(target)});
  ASSERT_TRUE(plan.ok()) << plan.status();
  TempDir work;
  const auto result =
      RunPipeline(model_, {.outputs = {Bytes(target)}}, work.path());
  ASSERT_TRUE(result.ok()) << result.status();
  const OutputPlan& output = plan->outputs[0];
  int64_t total = 0;
  for (const auto& [path, bytes] : ReadTree(result->outputs[0].directory)) {
    total += static_cast<int64_t>(bytes.size());
  }
  EXPECT_EQ(total, output.total_bytes);
  EXPECT_LE(total, target);
  // The error that the plan promised, from a sample, is about the real one.
  double promised = 0;
  for (const SizeChoice& choice : output.frontier) {
    if (choice.planned) promised = -10 * std::log10(choice.relative_error);
  }
  EXPECT_NEAR(result->outputs[0].metrics.at("sqnr_db"), promised, 0.5);
}

TEST_F(AllocateTest, BitsPerWeightToo) {
  for (double bits : {2.9, 3.3, 4.25, 5.0, 9.0}) {
    const OutputPlan plan = PlanOf(Bits(bits));
    EXPECT_LE(plan.bits_per_weight, bits);
    EXPECT_GE(plan.bits_per_weight, bits - 0.2);
  }
}

TEST_F(AllocateTest, BeatsOneSchemeForAllAtItsSize) {
  // Tensors of very different energy: that is what an allocation is good for.
  OutputRequest uniform = Request("W4A16");
  const auto plan = PlanModel(model_, {Bytes(SizeOf("W4A16") + 2000)});
  ASSERT_TRUE(plan.ok()) << plan.status();
  TempDir one, two;
  const auto same = RunPipeline(model_, {.outputs = {uniform}}, one.path());
  const auto mixed = RunPipeline(
      model_, {.outputs = {Bytes(SizeOf("W4A16") + 2000)}}, two.path());
  ASSERT_TRUE(same.ok() && mixed.ok());
  EXPECT_GE(mixed->outputs[0].metrics.at("sqnr_db") + 0.05,
            same->outputs[0].metrics.at("sqnr_db"));
}

TEST_F(AllocateTest, MergedModulesGetOneSchemeAndEveryTensorAReason) {
  const OutputPlan plan =
      PlanOf(Bytes((SizeOf("W3A16") + 2 * SizeOf("W4A16")) / 3));
  const auto chosen = Chosen(plan);
  EXPECT_EQ(chosen.size(), 28u);
  std::set<std::string> schemes;
  for (int layer = 0; layer < 4; ++layer) {
    const std::string at = absl::StrCat("model.layers.", layer, ".");
    const auto of = [&](const char* part) {
      return chosen.at(absl::StrCat(at, part, "_proj.weight"));
    };
    EXPECT_EQ(of("self_attn.q"), of("self_attn.k"));
    EXPECT_EQ(of("self_attn.q"), of("self_attn.v"));
    EXPECT_EQ(of("mlp.gate"), of("mlp.up"));
    schemes.insert({of("self_attn.q"), of("self_attn.o"), of("mlp.down")});
  }
  EXPECT_GT(schemes.size(), 1u);
  const auto opened = OpenModel(model_);
  for (const TensorPlan& tensor : plan.tensors) {
    EXPECT_FALSE(tensor.reason.empty());
    const std::string& name = (*opened)->tensors()[tensor.source].name;
    if (name == "lm_head.weight") {
      EXPECT_EQ(tensor.reason, "skipped: lm_head");
    } else if (chosen.count(name) > 0) {
      EXPECT_THAT(tensor.reason, HasSubstr(": " + chosen.at(name)));
    }
  }
}

TEST_F(AllocateTest, RulesGoBefore) {
  OutputRequest request = Bytes(SizeOf("W4A16"));
  request.rules = {{"mlp.down", *FindScheme("W8A16")},
                   {"model.layers.0.self_attn.o_proj", std::nullopt}};
  const auto opened = OpenModel(model_);
  for (const TensorPlan& tensor : PlanOf(request).tensors) {
    const std::string& name = (*opened)->tensors()[tensor.source].name;
    if (absl::StrContains(name, "down_proj")) {
      EXPECT_EQ(tensor.scheme.name, "W8A16");
      EXPECT_EQ(tensor.reason, "rule 'mlp.down'");
    }
    if (name == "model.layers.0.self_attn.o_proj.weight") {
      EXPECT_FALSE(tensor.quantized);
    }
  }
}

TEST_F(AllocateTest, TooSmallSaysHowSmallItGets) {
  const auto refused = PlanModel(model_, {Bytes(1000)});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(refused.status()), Reason::kPlanRefused);
  EXPECT_EQ(GetField(refused.status()), "outputs[0].recipe.target_bytes");
  const std::string message(refused.status().message());
  EXPECT_THAT(message, HasSubstr("target 1.00 kB: the smallest"));
  // That size can be had, and not a byte less.
  const size_t at = message.find(" is ") + 4;
  const int64_t smallest = std::stoll(message.substr(at));
  EXPECT_EQ(PlanOf(Bytes(smallest)).total_bytes, smallest);
  EXPECT_FALSE(PlanModel(model_, {Bytes(smallest - 1)}).ok());
  EXPECT_FALSE(PlanModel(model_, {Bits(0.5)}).ok());
}

TEST_F(AllocateTest, RoomForEverythingIsRefused) {
  const auto plan = PlanModel(model_, {Bytes(int64_t{1} << 40)});
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("nothing needs to be quantized"));
}

TEST_F(AllocateTest, FrontierRunsFromTheSmallestToTheLargest) {
  const OutputPlan plan = PlanOf(Bytes(SizeOf("W4A16")));
  ASSERT_GE(plan.frontier.size(), 5u);
  int planned = 0;
  for (size_t i = 0; i < plan.frontier.size(); ++i) {
    const SizeChoice& choice = plan.frontier[i];
    planned += choice.planned;
    EXPECT_EQ(choice.planned, choice.total_bytes == plan.total_bytes);
    if (i == 0) continue;
    EXPECT_GT(choice.total_bytes, plan.frontier[i - 1].total_bytes);
    EXPECT_LT(choice.relative_error, plan.frontier[i - 1].relative_error);
  }
  EXPECT_EQ(planned, 1);
  EXPECT_EQ(plan.frontier.back().relative_error, 0);
}

TEST_F(AllocateTest, ThreadsAndRunsDoNotShow) {
  const auto opened = OpenModel(model_);
  PlanRequest request{.outputs = {Bytes(SizeOf("W4A16"))}};
  const auto first = MakePlan(**opened, request);
  ASSERT_TRUE(first.ok()) << first.status();
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    request.pool = &pool;
    const auto plan = MakePlan(**opened, request);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->fingerprint, first->fingerprint);
    EXPECT_EQ(Chosen(plan->outputs[0]), Chosen(first->outputs[0]));
    EXPECT_EQ(plan->outputs[0].frontier[0].relative_error,
              first->outputs[0].frontier[0].relative_error);
  }
}

TEST_F(AllocateTest, ShapesThatDoNotFitGetChannelsOrStay) {
  WriteModel(dir_ / "ragged", LlamaTensors(256, 172, DType::kBF16, 2));
  for (OnMismatch on_mismatch : {OnMismatch::kChannel, OnMismatch::kSkip}) {
    OutputRequest request = Bits(8);
    request.on_mismatch = on_mismatch;
    const auto plan = PlanModel(dir_ / "ragged", {request});
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto opened = OpenModel(dir_ / "ragged");
    for (const TensorPlan& tensor : plan->outputs[0].tensors) {
      const std::string& name = (*opened)->tensors()[tensor.source].name;
      if (!absl::StrContains(name, "down_proj")) continue;
      if (on_mismatch == OnMismatch::kSkip) {
        EXPECT_FALSE(tensor.quantized);
      } else if (tensor.quantized) {
        EXPECT_EQ(tensor.scheme.granularity, Granularity::kChannel);
        EXPECT_THAT(tensor.reason, HasSubstr("channel: "));
      }
    }
  }
  OutputRequest request = Bits(8);
  EXPECT_FALSE(PlanModel(dir_ / "ragged", {request}).ok());
}

// Whole tensors are smaller than a sample: the estimate is then exact.
TEST_F(AllocateTest, SamplesOfSmallTensorsAreTheTensors) {
  WriteModel(dir_ / "small", {{"a.weight", {40, 128}}});
  const auto opened = OpenModel(dir_ / "small");
  for (const Scheme& scheme : FamilyOf(*FindScheme("W4A16"))) {
    OutputRequest request = Request("W4A16");
    request.scheme = scheme;
    const auto sampled = SampleErrors(**opened, 0, request, {scheme});
    ASSERT_TRUE(sampled.ok()) << sampled.status();
    TempDir work;
    const auto result =
        RunPipeline(dir_ / "small", {.outputs = {request}}, work.path());
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NEAR(10 * std::log10(sampled->signal / sampled->noise[0]),
                result->outputs[0].metrics.at("sqnr_db"), 1e-9)
        << scheme.name;
  }
}

TEST(Family, KeepsSymmetryAndGroups) {
  Scheme scheme = *FindScheme("W4A16_ASYM");
  scheme.group_size = 64;
  const std::vector<Scheme> family = FamilyOf(scheme);
  ASSERT_EQ(family.size(), 7u);
  for (const Scheme& member : family) {
    EXPECT_FALSE(member.symmetric);
    EXPECT_EQ(member.group_size, 64);
  }
  EXPECT_EQ(family[2].name, "W4A16_ASYM");
  EXPECT_EQ(FamilyOf(*FindScheme("FP8_DYNAMIC")).size(), 1u);
  EXPECT_EQ(FamilyOf(*FindScheme("W8A8")).size(), 1u);
}

}  // namespace
}  // namespace quant

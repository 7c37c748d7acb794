// What a plan does with each tensor, and why: rules, merged modules, shapes.
#include "core/pipeline/decide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "core/base/error.h"
#include "core/container/gguf.h"
#include "core/pipeline/rules.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kLayer0[] = "model.layers.0.";

class DecideTest : public ::testing::Test {
 protected:
  void SetUp() override { Write(LlamaTensors(128, 256)); }

  void Write(const std::vector<TensorSpec>& tensors,
             const std::string& config = R"({"model_type": "llama"})") {
    WriteModel(dir_ / "model", tensors, 1, config);
  }

  absl::StatusOr<Plan> Make(const OutputRequest& request) {
    return PlanModel(dir_ / "model", {request});
  }

  absl::StatusOr<Plan> MakeWith(std::vector<TensorRule> rules) {
    OutputRequest request = Request("W4A16");
    request.rules = std::move(rules);
    return Make(request);
  }

  // The plan of one tensor of the model.
  TensorPlan Of(const absl::StatusOr<Plan>& plan, const std::string& tensor) {
    EXPECT_TRUE(plan.ok()) << plan.status();
    const auto model = OpenModel(dir_ / "model");
    for (const TensorPlan& item : plan->outputs[0].tensors) {
      if ((*model)->tensors()[item.source].name == tensor) return item;
    }
    ADD_FAILURE() << "no tensor " << tensor;
    return {};
  }

  std::string SchemeOf(const absl::StatusOr<Plan>& plan,
                       const std::string& module) {
    const TensorPlan tensor = Of(plan, module + ".weight");
    return tensor.quantized ? tensor.scheme.name : "kept";
  }

  TempDir dir_;
};

Scheme Named(const char* name) { return *FindScheme(name); }

TEST_F(DecideTest, ByDefaultLinearsOnly) {
  const auto plan = Make(Request("W4A16"));
  int quantized = 0;
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const TensorPlan& tensor : plan->outputs[0].tensors) {
    quantized += tensor.quantized;
    EXPECT_FALSE(tensor.reason.empty());
  }
  EXPECT_EQ(quantized, 14);
  EXPECT_EQ(Of(plan, "lm_head.weight").reason, "skipped: lm_head");
  EXPECT_EQ(Of(plan, "model.embed_tokens.weight").reason, "skipped: embedding");
  EXPECT_EQ(Of(plan, "model.norm.weight").reason, "skipped: norm");
  EXPECT_EQ(Of(plan, "model.layers.0.mlp.down_proj.weight").reason, "default");
}

TEST_F(DecideTest, RefusesAGgufFileThatHoldsBlocks) {
  const auto layout = LayOutGguf(
      std::vector<GgufKv>{{"general.architecture", std::string("llama")}},
      {{.name = "blk.0.attn_q.weight",
        .type = GgmlType::kQ4_K,
        .shape = {256, 256}}});
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::string bytes = layout->header;
  bytes.resize(layout->file_size);
  WriteAll(dir_ / "m.gguf", bytes);
  const auto plan = PlanModel(dir_ / "m.gguf", {Request("W4A16")});
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused);
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("\"blk.0.attn_q.weight\" is Q4_K"));
}

TEST_F(DecideTest, RulesMatchByNameTensorPatternRoleAndClass) {
  const std::string down = std::string(kLayer0) + "mlp.down_proj";
  for (const char* match :
       {"model.layers.0.mlp.down_proj", "model.layers.0.mlp.down_proj.weight",
        R"(re:model\.layers\.0\.mlp\.down)", R"(re:.*\.0\..*down_proj$)",
        R"(re:.*\.0\..*down_proj\.weight$)"}) {
    const auto plan = MakeWith({{match, Named("W8A16")}});
    EXPECT_EQ(SchemeOf(plan, down), "W8A16") << match;
    EXPECT_EQ(SchemeOf(plan, "model.layers.1.mlp.down_proj"), "W4A16");
    EXPECT_THAT(Of(plan, down + ".weight").reason, HasSubstr(match));
  }
  EXPECT_EQ(SchemeOf(MakeWith({{"mlp.down", std::nullopt}}), down), "kept");
  EXPECT_EQ(SchemeOf(MakeWith({{"LmHead", Named("W8A16")}}), "lm_head"),
            "W8A16");
  EXPECT_EQ(SchemeOf(MakeWith({{"lm_head", Named("W8A16")}}), "lm_head"),
            "W8A16");
  EXPECT_EQ(SchemeOf(MakeWith({{"Linear", Named("W8A16")}}), down), "W8A16");
}

TEST_F(DecideTest, PatternsAreAnchoredAtTheStartOnly) {
  const auto plan = MakeWith({{"re:model.layers.1", std::nullopt}});
  EXPECT_EQ(SchemeOf(plan, "model.layers.0.mlp.down_proj"), "W4A16");
  EXPECT_EQ(SchemeOf(plan, "model.layers.1.mlp.down_proj"), "kept");
  const auto unanchored = MakeWith({{"re:layers", std::nullopt}});
  EXPECT_EQ(unanchored.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(DecideTest, TheFirstMatchWins) {
  const std::string down = "model.layers.0.mlp.down_proj";
  const auto plan =
      MakeWith({{down, std::nullopt}, {"re:.*down_proj", Named("W8A16")}});
  EXPECT_EQ(SchemeOf(plan, down), "kept");
  EXPECT_EQ(SchemeOf(plan, "model.layers.1.mlp.down_proj"), "W8A16");
}

TEST_F(DecideTest, ARuleThatMatchesNothingIsAnErrorWithTheNearestName) {
  for (auto [match, nearest] : {std::pair{"model.layers.0.mlp.down_porj",
                                          "model.layers.0.mlp.down_proj"},
                                {"Liner", "Linear"},
                                {"mlp.dwon", "mlp.down"}}) {
    const auto plan =
        MakeWith({{"lm_head", std::nullopt}, {match, Named("W8A16")}});
    ASSERT_FALSE(plan.ok());
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetField(plan.status()), "outputs[0].recipe.rules[1].match");
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(match));
    EXPECT_THAT(std::string(plan.status().message()),
                HasSubstr(std::string("did you mean \"") + nearest));
  }
  // Something of that name is there, but no matrix.
  const auto norm = MakeWith({{"Norm", Named("W8A16")}});
  EXPECT_THAT(std::string(norm.status().message()),
              HasSubstr("matches no weight matrix"));
}

TEST_F(DecideTest, AShadowedRuleIsAnError) {
  const auto plan =
      MakeWith({{"Linear", Named("W8A16")}, {"mlp.down", Named("W4A16")}});
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("earlier rules match first"));
  EXPECT_EQ(GetField(plan.status()), "outputs[0].recipe.rules[1].match");
}

TEST_F(DecideTest, ABadPatternIsAnErrorAndALongOneIsNoDenialOfService) {
  const auto bad = MakeWith({{"re:(", std::nullopt}});
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetField(bad.status()), "outputs[0].recipe.rules[0].match");
  // Exponential in backtracking engines, refused or linear here.
  const auto nested = MakeWith({{"re:(((a*)*)*)*$", std::nullopt}});
  EXPECT_FALSE(nested.ok());
  EXPECT_FALSE(MakeWith({{"re:((a{1000}){1000}){1000}", std::nullopt}}).ok());
}

TEST_F(DecideTest, MergedModulesThatDisagreeAreAllListed) {
  const auto plan =
      MakeWith({{"model.layers.0.self_attn.k_proj", Named("W8A16")},
                {"model.layers.1.mlp.up_proj", std::nullopt}});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused);
  const std::string message(plan.status().message());
  EXPECT_THAT(message, HasSubstr("model.layers.0.self_attn.k_proj"));
  EXPECT_THAT(message, HasSubstr("model.layers.0.self_attn.q_proj"));
  EXPECT_THAT(message, HasSubstr("model.layers.1.mlp.up_proj"));
  EXPECT_THAT(message, HasSubstr("as it is"));
  EXPECT_THAT(message, HasSubstr("one rule cover all"));
  EXPECT_THAT(message, Not(HasSubstr("on_mismatch")));
  // All parts alike: fine.
  EXPECT_TRUE(MakeWith({{R"(re:.*\.(q|k|v)_proj)", Named("W8A16")}}).ok());
}

TEST_F(DecideTest, AMergedPartThatIsNoFloatMustAgreeToo) {
  auto tensors = LlamaTensors(128, 128);
  for (TensorSpec& tensor : tensors) {
    if (tensor.name == "model.layers.1.mlp.up_proj.weight") {
      tensor.dtype = DType::kI8;
    }
  }
  Write(tensors);
  const auto plan = Make(Request("W4A16"));
  EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused);
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("model.layers.1.mlp.up_proj (I8)"));
  const auto skipped =
      MakeWith({{R"(re:model\.layers\.1\.mlp\.(gate|up)_proj)", std::nullopt}});
  EXPECT_EQ(SchemeOf(skipped, "model.layers.1.mlp.gate_proj"), "kept");
}

TEST_F(DecideTest, WhereNothingIsLeftTheReasonIsSaid) {
  Write(LlamaTensors(64, 172));
  OutputRequest request = Request("W4A16");
  request.on_mismatch = OnMismatch::kSkip;
  const std::string misfits(Make(request).status().message());
  EXPECT_THAT(misfits, HasSubstr("would change no tensor"));
  EXPECT_THAT(misfits, HasSubstr("all 14 Linear weight matrices"));
  EXPECT_THAT(misfits, HasSubstr("172 % 128 != 0"));
  const auto rule = MakeWith({{"re:.*", std::nullopt}});
  EXPECT_THAT(std::string(rule.status().message()),
              HasSubstr("by rule 're:.*'"));
}

TEST_F(DecideTest, MisfitsFailListingAllOfThem) {
  Write(LlamaTensors(128, 172));
  const auto plan = Make(Request("W4A16"));
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused);
  const std::string message(plan.status().message());
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    EXPECT_THAT(message,
                HasSubstr(std::string(layer) + "mlp.down_proj.weight"));
  }
  EXPECT_THAT(message, HasSubstr("172 % 128 != 0"));
  EXPECT_THAT(message, HasSubstr("does not fit 2 of"));
  EXPECT_THAT(message, Not(HasSubstr("gate_proj")));
}

TEST_F(DecideTest, MisfitsGoToChannelsOrAreSkippedWithTheirReason) {
  Write(LlamaTensors(128, 172));
  OutputRequest request = Request("W4A16");
  request.on_mismatch = OnMismatch::kChannel;
  const auto channel = Make(request);
  const TensorPlan down = Of(channel, "model.layers.0.mlp.down_proj.weight");
  EXPECT_TRUE(down.quantized);
  EXPECT_EQ(down.scheme.granularity, Granularity::kChannel);
  EXPECT_THAT(down.reason, HasSubstr("172 % 128 != 0"));
  EXPECT_EQ(SchemeOf(channel, "model.layers.0.mlp.up_proj"), "W4A16");
  EXPECT_EQ(Of(channel, "model.layers.0.mlp.up_proj.weight").scheme.granularity,
            Granularity::kGroup);
  request.on_mismatch = OnMismatch::kSkip;
  const auto skipped = Make(request);
  EXPECT_EQ(SchemeOf(skipped, "model.layers.0.mlp.down_proj"), "kept");
  EXPECT_THAT(Of(skipped, "model.layers.0.mlp.down_proj.weight").reason,
              HasSubstr("172 % 128 != 0"));
}

// q and v fit, k does not: all three change together.
TEST_F(DecideTest, MergedModulesFallBackTogether) {
  std::vector<TensorSpec> tensors = LlamaTensors(128, 256);
  for (TensorSpec& tensor : tensors) {
    if (absl::StrContains(tensor.name, "0.self_attn.k_proj")) {
      tensor.shape = {64, 100};
    }
  }
  Write(tensors);
  OutputRequest request = Request("W4A16");
  for (OnMismatch rule : {OnMismatch::kChannel, OnMismatch::kSkip}) {
    request.on_mismatch = rule;
    const auto plan = Make(request);
    for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
      const TensorPlan tensor =
          Of(plan, std::string("model.layers.0.self_attn.") + part + ".weight");
      EXPECT_EQ(tensor.quantized, rule == OnMismatch::kChannel);
      EXPECT_THAT(tensor.reason, HasSubstr("100 % 128 != 0"));
    }
    EXPECT_EQ(SchemeOf(plan, "model.layers.0.self_attn.o_proj"), "W4A16");
  }
}

TEST_F(DecideTest, BlocksMayBeRaggedOnlyInTheLastPart) {
  const auto model = [&](int64_t q, int64_t v) {
    Write({{"m.q_proj.weight", {q, 256}},
           {"m.k_proj.weight", {128, 256}},
           {"m.v_proj.weight", {v, 256}},
           {"m.o_proj.weight", {200, 256}}});
  };
  model(128, 200);
  EXPECT_TRUE(Make(Request("FP8_BLOCK")).ok());
  model(200, 128);
  const auto plan = Make(Request("FP8_BLOCK"));
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("m.q_proj.weight"));
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("200 % 128"));
  Write({{"m.o_proj.weight", {128, 200}}});
  EXPECT_FALSE(Make(Request("FP8_BLOCK")).ok()) << "ragged inputs";
  // The activations' groups go with the blocks.
  OutputRequest request = Request("FP8_BLOCK");
  request.on_mismatch = OnMismatch::kChannel;
  const TensorPlan tensor = Of(Make(request), "m.o_proj.weight");
  EXPECT_EQ(tensor.scheme.activations, Activations::kFp8TokenDynamic);
}

TEST_F(DecideTest, NoLoaderReadsQuantizedEmbeddings) {
  const auto plan = MakeWith({{"Embedding", Named("W8A16")}});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused);
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("model.embed_tokens.weight"));
  // A format for evaluation takes them.
  OutputRequest request = Request("W4A16", "dequantized");
  request.rules = {{"Embedding", Named("W8A16")}};
  EXPECT_EQ(SchemeOf(Make(request), "model.embed_tokens"), "W8A16");
}

TEST_F(DecideTest, AQuantizedSourceIsRefused) {
  Write(LlamaTensors(128, 256),
        R"({"quantization_config": {"quant_method": "gptq"}})");
  const auto by_config = Make(Request("W4A16"));
  EXPECT_EQ(GetReason(by_config.status()), Reason::kPlanRefused);
  EXPECT_THAT(std::string(by_config.status().message()), HasSubstr("gptq"));
  for (const char* name : {"m.down_proj.weight_packed", "m.down_proj.qweight",
                           "m.down_proj.weight_scale"}) {
    std::vector<TensorSpec> tensors = LlamaTensors(128, 256);
    tensors.push_back({name, {4}, DType::kI32});
    Write(tensors);
    const auto plan = Make(Request("W4A16"));
    EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused) << name;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(name));
  }
}

TEST_F(DecideTest, NothingToDoIsRefused) {
  Write({{"model.norm.weight", {128}}, {"lm_head.weight", {8, 128}}});
  const auto none = Make(Request("W4A16"));
  EXPECT_EQ(GetReason(none.status()), Reason::kPlanRefused);
  Write(LlamaTensors(128, 256));
  EXPECT_EQ(GetReason(MakeWith({{"Linear", std::nullopt}}).status()),
            Reason::kPlanRefused);
}

TEST_F(DecideTest, UnknownNamesAreAnsweredWithTheNearest) {
  OutputRequest request = Request("W4A16");
  request.method = "rnt";
  EXPECT_THAT(std::string(Make(request).status().message()),
              HasSubstr("did you mean \"rtn\""));
  request = Request("W4A16");
  request.format = "compressed-tensor";
  EXPECT_THAT(std::string(Make(request).status().message()),
              HasSubstr("did you mean \"compressed-tensors\""));
}

TEST_F(DecideTest, CombinationsThatNobodyReadsAreRefusedNamingTheNearest) {
  const auto message = [&](const OutputRequest& request) {
    const auto plan = Make(request);
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetReason(plan.status()), Reason::kUnsupported);
    return std::string(plan.status().message());
  };
  EXPECT_THAT(message(Request("FP8_E5M2")), HasSubstr("FP8_DYNAMIC"));
  EXPECT_THAT(message(Request("BF16")), HasSubstr("safetensors"));
  EXPECT_THAT(message(Request("W4A16", "safetensors")),
              HasSubstr("compressed-tensors"));
  OutputRequest grouped = Request("W8A8");
  grouped.scheme.granularity = Granularity::kGroup;
  grouped.scheme.group_size = 128;
  EXPECT_THAT(message(grouped), HasSubstr("W8A8"));
  OutputRequest asymmetric = Request("W8A8");
  asymmetric.scheme.symmetric = false;
  EXPECT_THAT(message(asymmetric), HasSubstr("W8A8"));
  // In a rule as well.
  OutputRequest rule = Request("W4A16");
  rule.rules = {{"lm_head", Named("FP8_E5M2")}};
  EXPECT_THAT(message(rule), HasSubstr("FP8_DYNAMIC"));
}

TEST_F(DecideTest, OutputsOfOneJobMustAgreeOnNonfinite) {
  std::vector<OutputRequest> outputs = {Request("W4A16"), Request("W8A8")};
  outputs[1].nonfinite = Nonfinite::kZero;
  const auto plan = PlanModel(dir_ / "model", outputs);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetField(plan.status()), "outputs[1].recipe.nonfinite");
  EXPECT_FALSE(PlanModel(dir_ / "model", {}).ok());
}

TEST_F(DecideTest, CastsConvertEveryFloatAndNothingElse) {
  std::vector<TensorSpec> tensors = LlamaTensors(128, 256, DType::kF32);
  tensors.push_back({"model.position_ids", {4}, DType::kI64});
  tensors.push_back({"model.scalar", {}, DType::kF64});
  Write(tensors);
  const auto plan = Make(Request("BF16", "safetensors"));
  EXPECT_EQ(Of(plan, "model.norm.weight").outputs[0].dtype, DType::kBF16);
  EXPECT_EQ(Of(plan, "model.embed_tokens.weight").outputs[0].dtype,
            DType::kBF16);
  EXPECT_EQ(Of(plan, "model.scalar").outputs[0].dtype, DType::kBF16);
  EXPECT_EQ(Of(plan, "model.position_ids").outputs[0].dtype, DType::kI64);
}

TEST_F(DecideTest, TheFingerprintKnowsRecipeAndSourceButNotThreads) {
  const auto fingerprint = [&](const OutputRequest& request, int threads) {
    return PlanModel(dir_ / "model", {request}, threads)->fingerprint;
  };
  const std::string first = fingerprint(Request("W4A16"), 1);
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(first, fingerprint(Request("W4A16"), 7));
  EXPECT_NE(first, fingerprint(Request("W8A16"), 1));
  WriteAll(dir_ / "model/config.json", R"({"model_type": "other"})");
  EXPECT_NE(first, fingerprint(Request("W4A16"), 1));
}

}  // namespace
}  // namespace quant

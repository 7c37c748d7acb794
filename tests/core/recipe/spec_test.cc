// Specs: every error names its field; the canonical form is a fixed point.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

v1::JobSpec Spec(const std::string& json) {
  v1::JobSpec spec;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &spec);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return spec;
}

v1::JobSpec Minimal() {
  return Spec(R"({"outputs": [{"recipe": {"scheme": "W4A16"}}]})");
}

struct Bad {
  const char* json;
  const char* field;
  Reason reason;
  const char* message;
};

class SpecErrors : public ::testing::TestWithParam<Bad> {};

TEST_P(SpecErrors, NameTheField) {
  const auto request = ToPlanRequest(Spec(GetParam().json), 1);
  ASSERT_FALSE(request.ok());
  EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetField(request.status()), GetParam().field) << request.status();
  EXPECT_EQ(GetReason(request.status()), GetParam().reason);
  EXPECT_THAT(std::string(request.status().message()),
              HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Specs, SpecErrors,
    ::testing::Values(
        Bad{R"({})", "outputs", Reason::kInvalidSpec, "0 outputs"},
        Bad{R"({"outputs": [{}]})", "outputs[0].recipe.scheme",
            Reason::kInvalidSpec, "required"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A61"}}]})",
            "outputs[0].recipe.scheme", Reason::kUnknownName, "W4A16"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}},
                            {"name": "b",
                             "recipe": {"scheme": "W4A16",
                                        "method": "rnt"}}]})",
            "outputs[1].recipe.method", Reason::kUnknownName, "\"rtn\""},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "format": "safetensor"}}]})",
            "outputs[0].recipe.format", Reason::kUnknownName, "safetensors"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "loader": "vlm"}}]})",
            "outputs[0].recipe.loader", Reason::kUnknownName, "\"vllm\""},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16", "loader": "vllm",
                                        "tensor_parallel": -2}}]})",
            "outputs[0].recipe.tensor_parallel", Reason::kInvalidSpec, "1 to"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16", "loader": "sglang",
                                        "tensor_parallel": 2}}]})",
            "outputs[0].recipe.tensor_parallel", Reason::kInvalidSpec, "vllm"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "tensor_parallel": 2}}]})",
            "outputs[0].recipe.tensor_parallel", Reason::kInvalidSpec,
            "a loader is needed"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "scale": "minmx"}}]})",
            "outputs[0].recipe.scale", Reason::kUnknownName, "minmax"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "group_size": 0}}]})",
            "outputs[0].recipe.group_size", Reason::kInvalidSpec, "1 to"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "group_size": "9007199254740993"}}]})",
            "outputs[0].recipe.group_size", Reason::kInvalidSpec, "1 to"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "BF16",
                                        "group_size": 64}}]})",
            "outputs[0].recipe.group_size", Reason::kInvalidSpec, "cast"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16", "whole": 0}}]})",
            "outputs[0].recipe.whole", Reason::kInvalidSpec, "unknown"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "FP8_DYNAMIC",
                                        "symmetric": false}}]})",
            "outputs[0].recipe.symmetric", Reason::kInvalidSpec, "symmetric"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "max_shard_bytes": -1}}]})",
            "outputs[0].recipe.max_shard_bytes", Reason::kInvalidSpec, "-1"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "on_mismatch": 77}}]})",
            "outputs[0].recipe.on_mismatch", Reason::kInvalidSpec, "77"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                                        "nonfinite": 77}}]})",
            "outputs[0].recipe.nonfinite", Reason::kInvalidSpec, "77"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                             "rules": [{"match": "x", "skip": true},
                                       {"match": "", "skip": true}]}}]})",
            "outputs[0].recipe.rules[1].match", Reason::kInvalidSpec,
            "0 bytes"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                             "rules": [{"match": "x"}]}}]})",
            "outputs[0].recipe.rules[0]", Reason::kInvalidSpec, "needs"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                             "rules": [{"match": "x", "skip": false}]}}]})",
            "outputs[0].recipe.rules[0]", Reason::kInvalidSpec, "skip: true"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16",
                             "rules": [{"match": "x", "scheme": "W8"}]}}]})",
            "outputs[0].recipe.rules[0].scheme", Reason::kUnknownName, "W8"},
        Bad{R"({"outputs": [{"name": "../x", "recipe": {"scheme": "W4A16"}}]})",
            "outputs[0].name", Reason::kInvalidSpec, "../x"},
        Bad{R"({"outputs": [{"name": ".x", "recipe": {"scheme": "W4A16"}}]})",
            "outputs[0].name", Reason::kInvalidSpec, "first"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}},
                            {"recipe": {"scheme": "W4A16"}}]})",
            "outputs[1].name", Reason::kInvalidSpec, "unique"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}}],
                "gates": [{"metric": "perplexity_rate", "comparison": 1}]})",
            "gates[0].metric", Reason::kUnknownName, "perplexity_ratio"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}}],
                "gates": [{"metric": "perplexity_ratio", "comparison": 1}]})",
            "gates[0].metric", Reason::kInvalidSpec, "--evaluate FILE"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}}],
                "gates": [{"metric": "size_bytes", "comparison": 1}],
                "on_gate_failure": 2})",
            "on_gate_failure", Reason::kInvalidSpec, "kl_mean"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}}],
                "gates": [{"metric": "size_bytes"}]})",
            "gates[0].comparison", Reason::kInvalidSpec, "required"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}}],
                "gates": [{"metric": "size_bytes", "comparison": 1,
                           "threshold": "NaN"}]})",
            "gates[0].threshold", Reason::kInvalidSpec, "finite"},
        Bad{R"({"outputs": [{"recipe": {"scheme": "W4A16"}}],
                "gates": [{"metric": "size_bytes", "comparison": 1,
                           "output": "W4A61"}]})",
            "gates[0].output", Reason::kUnknownName, "W4A16"}));

TEST(Spec, LimitsAreLimits) {
  v1::JobSpec spec = Minimal();
  for (int i = 1; i <= kMaxOutputsPerJob; ++i) {
    *spec.add_outputs() = spec.outputs(0);
    spec.mutable_outputs(i)->set_name("n" + std::to_string(i));
  }
  EXPECT_EQ(GetField(ToPlanRequest(spec, 1).status()), "outputs");
  spec = Minimal();
  for (int i = 0; i <= kMaxRulesPerRecipe; ++i) {
    v1::Rule* rule = spec.mutable_outputs(0)->mutable_recipe()->add_rules();
    rule->set_match("x");
    rule->set_skip(true);
  }
  EXPECT_EQ(GetField(ToPlanRequest(spec, 1).status()),
            "outputs[0].recipe.rules");
  spec = Minimal();
  v1::Rule* rule = spec.mutable_outputs(0)->mutable_recipe()->add_rules();
  rule->set_match(std::string(513, 'x'));
  rule->set_skip(true);
  EXPECT_EQ(GetField(ToPlanRequest(spec, 1).status()),
            "outputs[0].recipe.rules[0].match");
}

TEST(Spec, DefaultsAreFilledInAndCanonicalIsAFixedPoint) {
  for (const char* json :
       {R"({"outputs": [{"recipe": {"scheme": "W4A16"}}]})",
        R"({"outputs": [{"name": "x", "recipe": {"scheme": "BF16"}},
                        {"recipe": {"scheme": "W8A8", "scale": "mse",
                         "rules": [{"match": "Linear", "skip": true}]}}],
            "gates": [{"metric": "min_sqnr_db", "comparison": 3,
                       "threshold": 18}]})"}) {
    const auto once = CanonicalSpec(Spec(json));
    ASSERT_TRUE(once.ok()) << once.status();
    const auto twice = CanonicalSpec(*once);
    ASSERT_TRUE(twice.ok());
    EXPECT_EQ(once->SerializeAsString(), twice->SerializeAsString());
  }
  const auto spec = CanonicalSpec(Minimal());
  EXPECT_EQ(spec->outputs(0).name(), "W4A16");
  EXPECT_EQ(spec->outputs(0).recipe().method(), "rtn");
  EXPECT_EQ(spec->outputs(0).recipe().format(), "compressed-tensors");
  EXPECT_EQ(spec->outputs(0).recipe().on_mismatch(), v1::ON_MISMATCH_FAIL);
  const auto cast =
      CanonicalSpec(Spec(R"({"outputs": [{"recipe": {"scheme": "F16"}}]})"));
  EXPECT_EQ(cast->outputs(0).recipe().format(), "safetensors");
}

TEST(Spec, BecomesAPlanRequest) {
  const auto request =
      ToPlanRequest(Spec(R"({"outputs": [{"name": "small", "recipe": {
          "scheme": "W4A16", "group_size": 32, "symmetric": false,
          "scale": "mse", "on_mismatch": "ON_MISMATCH_SKIP",
          "nonfinite": "NONFINITE_ZERO", "max_shard_bytes": "1000",
          "source_digest": true,
          "rules": [{"match": "lm_head", "scheme": "W8A16"},
                    {"match": "Norm", "skip": true}]}}]})"),
                    3);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->threads, 3);
  const OutputRequest& output = request->outputs[0];
  EXPECT_EQ(output.name, "small");
  EXPECT_EQ(output.scheme.group_size, 32);
  EXPECT_FALSE(output.scheme.symmetric);
  EXPECT_EQ(output.scale, ScaleRule::kMse);
  EXPECT_EQ(output.on_mismatch, OnMismatch::kSkip);
  EXPECT_EQ(output.nonfinite, Nonfinite::kZero);
  EXPECT_EQ(output.max_shard_bytes, 1000);
  EXPECT_TRUE(output.source_digest);
  ASSERT_EQ(output.rules.size(), 2u);
  EXPECT_EQ(output.rules[0].scheme->bits, 8);
  EXPECT_FALSE(output.rules[1].scheme.has_value());
  // The text in the manifest says all of it.
  v1::Recipe recipe;
  ASSERT_TRUE(
      google::protobuf::util::JsonStringToMessage(output.recipe_json, &recipe)
          .ok());
  EXPECT_EQ(recipe.group_size(), 32);
  EXPECT_EQ(recipe.method(), "rtn");
}

TEST(Spec, BlocksGiveWayToAnotherGranularity) {
  const auto request =
      ToPlanRequest(Spec(R"({"outputs": [{"recipe": {"scheme": "FP8_BLOCK",
              "whole": "WHOLE_GRANULARITY_CHANNEL"}}]})"),
                    1);
  ASSERT_TRUE(request.ok()) << request.status();
  const Scheme& scheme = request->outputs[0].scheme;
  EXPECT_EQ(scheme.granularity, Granularity::kChannel);
  EXPECT_EQ(scheme.block_rows, 0);
  EXPECT_EQ(scheme.activations, Activations::kFp8TokenDynamic);
}

}  // namespace
}  // namespace quant

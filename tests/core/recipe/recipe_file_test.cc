#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text) {
  const auto file = ParseRecipeFile(text);
  EXPECT_FALSE(file.ok()) << file->ShortDebugString();
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(file.status().message());
}

constexpr char kYaml[] = R"(# a recipe
scheme: W4A16
group_size: 64
symmetric: no
scale: mse
on_mismatch: skip
nonfinite: zero
rules:
  - match: 're:.*\.down_proj'
    scheme: W8A16
  - match: lm_head
    skip: true
)";

TEST(RecipeFile, YamlAndJsonMeanTheSame) {
  const auto yaml = ParseRecipeFile(kYaml);
  ASSERT_TRUE(yaml.ok()) << yaml.status();
  const v1::Recipe& recipe = yaml->recipe();
  EXPECT_EQ(recipe.scheme(), "W4A16");
  EXPECT_EQ(recipe.group_size(), 64);
  EXPECT_TRUE(recipe.has_symmetric());
  EXPECT_FALSE(recipe.symmetric());
  EXPECT_EQ(recipe.scale(), "mse");
  EXPECT_EQ(recipe.on_mismatch(), v1::ON_MISMATCH_SKIP);
  EXPECT_EQ(recipe.nonfinite(), v1::NONFINITE_ZERO);
  ASSERT_EQ(recipe.rules_size(), 2);
  EXPECT_EQ(recipe.rules(0).match(), R"(re:.*\.down_proj)");
  EXPECT_TRUE(recipe.rules(1).skip());
  const auto json = ParseRecipeFile(R"({"scheme": "W4A16", "groupSize": 64,
      "symmetric": false, "scale": "mse", "onMismatch": "ON_MISMATCH_SKIP",
      "nonfinite": "NONFINITE_ZERO",
      "rules": [{"match": "re:.*\\.down_proj", "scheme": "W8A16"},
                {"match": "lm_head", "skip": true}]})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->SerializeAsString(), yaml->SerializeAsString());
}

TEST(RecipeFile, SeveralOutputsAndGates) {
  const auto file = ParseRecipeFile(R"(
outputs:
  - name: small
    recipe: {scheme: W4A16}
  - recipe: {scheme: FP8_DYNAMIC}
gates: ["size_bytes <= 5GB", min_sqnr_db>=18]
)");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->outputs_size(), 2);
  EXPECT_EQ(file->outputs(0).name(), "small");
  ASSERT_EQ(file->gates_size(), 2);
  EXPECT_EQ(file->gates(1), "min_sqnr_db>=18");
  const auto one = ParseRecipeFile("recipe: {scheme: W8A8}\ngates: []\n");
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->recipe().scheme(), "W8A8");
  EXPECT_THAT(ErrorOf("recipe: {scheme: A}\noutputs: [{recipe: {scheme: B}}]"),
              HasSubstr("not both"));
}

TEST(RecipeFile, SettingsOfTheJob) {
  const auto file = ParseRecipeFile(R"(
recipe: {scheme: W4A16, method: gptq}
calibration: {path: texts/calib.npy, sequences: 32, sequence_length: 256}
evaluation: {path: server:eval.npy}
imatrix: some.imatrix
gates: [perplexity_ratio<=1.03]
on_gate_failure: escalate
report: true
)");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->calibration().path(), "texts/calib.npy");
  EXPECT_EQ(file->calibration().sequences(), 32);
  EXPECT_EQ(file->evaluation().path(), "server:eval.npy");
  EXPECT_EQ(file->imatrix(), "some.imatrix");
  EXPECT_EQ(file->on_gate_failure(), "escalate");
  EXPECT_TRUE(file->report());
  EXPECT_THAT(ErrorOf("evaluation: {file: x}"), HasSubstr("line 1"));
}

TEST(RecipeFile, UnknownKeysAreNamedWithLineAndNearest) {
  const std::string error = ErrorOf("scheme: W4A16\n\ngroup_sise: 64\n");
  EXPECT_THAT(error, HasSubstr("line 3"));
  EXPECT_THAT(error, HasSubstr("\"group_sise\""));
  EXPECT_THAT(error, HasSubstr("did you mean \"group_size\""));
  const std::string deep =
      ErrorOf("scheme: W4A16\nrules:\n  - match: x\n    skp: true\n");
  EXPECT_THAT(deep, HasSubstr("line 4"));
  EXPECT_THAT(deep, HasSubstr("did you mean \"skip\""));
  EXPECT_THAT(ErrorOf("scheme: W4A16\non_mismatch: skp\n"),
              HasSubstr("did you mean \"skip\""));
}

TEST(RecipeFile, WrongTypesAreNamedWithTheirLine) {
  for (const char* text :
       {"scheme: W4A16\ngroup_size: many\n", "scheme: W4A16\ngroup_size: 1.5\n",
        "scheme: W4A16\ngroup_size: [64]\n", "scheme: W4A16\nsymmetric: 7\n",
        "scheme: W4A16\nrules: x\n", "scheme: W4A16\nrules: {match: x}\n",
        "scheme: W4A16\nrules: [x]\n", "scheme: [W4A16]\nmethod: {a: b}\n",
        "scheme: W4A16\non_mismatch: [skip]\n",
        "scheme: W4A16\ngroup_size: 99999999999999999999\n"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("line ")) << text;
  }
}

// As --target-size and --max-shard-size take them.
TEST(RecipeFile, BytesAreWrittenAsPeopleWriteThem) {
  for (const auto& [text, bytes] :
       std::map<std::string, int64_t>{{"4.6GB", 4'600'000'000},
                                      {"512 MiB", 512 << 20},
                                      {"4096", 4096},
                                      {"'1kB'", 1000}}) {
    const auto file = ParseRecipeFile(absl::StrCat(
        "scheme: W4A16\ntarget_bytes: ", text, "\nmaxShardBytes: ", text));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->recipe().target_bytes(), bytes) << text;
    EXPECT_EQ(file->recipe().max_shard_bytes(), bytes) << text;
  }
  EXPECT_EQ(ParseRecipeFile(R"({"scheme": "W4A16", "targetBytes": "2GB"})")
                ->recipe()
                .target_bytes(),
            2'000'000'000);
  for (const char* text : {"4.6 elephants", "-1", "1e400GB", "GB", "[1]"}) {
    EXPECT_THAT(
        ErrorOf(absl::StrCat("scheme: W4A16\ntarget_bytes: ", text, "\n")),
        HasSubstr("line 2"))
        << text;
  }
}

TEST(RecipeFile, GivenTwiceIsAnError) {
  EXPECT_THAT(ErrorOf("scheme: W4A16\nscheme: W8A16\n"), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf("scheme: W4A16\ngroup_size: 1\ngroupSize: 2\n"),
              HasSubstr("twice"));
  // Two of a choice.
  EXPECT_THAT(ErrorOf("scheme: W4A16\ngroup_size: 64\nwhole: channel\n"),
              HasSubstr("line 3: a recipe has either \"group_size\" or "
                        "\"whole\", not both"));
  EXPECT_THAT(ErrorOf("scheme: W4A16\nrules:\n  - match: x\n"
                      "    scheme: W8A16\n    skip: true\n"),
              HasSubstr("line 5: a rule has either \"scheme\" or \"skip\", "
                        "not both"));
}

TEST(RecipeFile, WhatIsNoDocumentIsAnErrorNotACrash) {
  for (const std::string& text :
       {std::string(""), std::string("W4A16"), std::string("- a\n- b\n"),
        std::string("{"), std::string("a: [1, 2"), std::string("\t- x: :"),
        std::string("? {a: b}\n: c\n"), std::string("*unknown"),
        std::string("scheme: *unknown\n"), std::string("\0\0\0\0", 4),
        std::string("\xFF\xFE\xFA"), std::string("&a {scheme: *a}"),
        std::string("<<: {scheme: W4A16}\n"), std::string(5000, '['),
        std::string(2'000'000, ' ')}) {
    const auto file = ParseRecipeFile(text);
    ASSERT_FALSE(file.ok()) << text.substr(0, 40);
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// Ten levels of ten aliases each would be ten billion values.
TEST(RecipeFile, AliasBombsAreBounded) {
  std::string text = "scheme: W4A16\nrules:\n";
  std::string list;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&list, i ? ", " : "", "*r");
  const std::string rule = "&r {match: x, skip: true}";
  const std::string outputs =
      absl::StrCat("outputs:\n  - &o {recipe: {scheme: W4A16, rules: [", rule,
                   ", ", list, "]}}\n");
  std::string bomb = outputs;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&bomb, "  - *o\n");
  EXPECT_THAT(ErrorOf(bomb), HasSubstr("more than"));
  // A recursive alias.
  ErrorOf("outputs: &o\n  - recipe: {scheme: W4A16}\n  - *o\n");
}

}  // namespace
}  // namespace quant

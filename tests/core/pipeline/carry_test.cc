// Codes of one format in another: exactly, or not at all.
#include "core/pipeline/carry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/artifact/quantized_model.h"
#include "core/base/error.h"
#include "core/tensor/float_formats.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

OutputRequest Carried(const std::string& format) {
  OutputRequest request;
  request.name = format;
  request.format = format;
  request.keep_codes = true;
  request.recipe_json = absl::StrCat("{\"format\":\"", format, "\"}");
  return request;
}

class CarryTest : public ::testing::Test {
 protected:
  // Quantizes a model of such weights to directory `name`.
  void Quantize(const OutputRequest& request, const std::string& name,
                DType dtype = DType::kF16) {
    WriteModel(dir_ / "plain", LlamaTensors(256, 640, dtype, 1), 2);
    Keep(RunPipeline(dir_ / "plain", {.outputs = {request}}, Work(name)), name);
  }

  // Carries model `from` over.
  absl::StatusOr<ExecuteResult> Convert(const std::string& from,
                                        const std::string& format,
                                        const std::string& name,
                                        int threads = 2) {
    return RunPipeline(dir_ / from, {.outputs = {Carried(format)}}, Work(name),
                       threads);
  }

  void MustConvert(const std::string& from, const std::string& format,
                   const std::string& name, int threads = 2) {
    Keep(Convert(from, format, name, threads), name);
  }

  // The work directory of what becomes model `name`.
  std::string Work(const std::string& name) const {
    return dir_ / (name + ".work");
  }
  void Keep(const absl::StatusOr<ExecuteResult>& result,
            const std::string& name) {
    ASSERT_TRUE(result.ok()) << name << ": " << result.status();
    std::error_code error;
    std::filesystem::rename(result->outputs[0].directory, dir_ / name, error);
    ASSERT_FALSE(error) << error.message();
  }

  // Every weight's codes, scales, zero points and groups.
  std::map<std::string, CodeTile> Codes(const std::string& name) const {
    const auto stored = OpenModel(dir_ / name);
    EXPECT_TRUE(stored.ok()) << stored.status();
    const auto model = QuantizedModel::Make(**stored);
    EXPECT_TRUE(model.ok()) << model.status();
    std::map<std::string, CodeTile> codes;
    for (const StoredWeight& weight : (*model)->weights()) {
      CodeTile& tile = codes[weight.source.name];
      const absl::Status status =
          ReadCodes(**stored, weight, 0, weight.source.shape[0], tile);
      EXPECT_TRUE(status.ok()) << status;
      // Without zero points is with the middle one.
      tile.zeros.resize(tile.scales.size());
    }
    return codes;
  }

  void ExpectSameCodes(const std::string& a, const std::string& b) const {
    const auto left = Codes(a), right = Codes(b);
    ASSERT_EQ(left.size(), 7u);
    ASSERT_EQ(right.size(), 7u);
    for (const auto& [name, tile] : left) {
      const CodeTile& other = right.at(name);
      EXPECT_EQ(tile.codes, other.codes) << name;
      EXPECT_EQ(tile.scales, other.scales) << name;
      EXPECT_EQ(tile.zeros, other.zeros) << name;
      EXPECT_EQ(tile.column_groups, other.column_groups) << name;
    }
  }

  // All but manifest.json, which names the recipe.
  void ExpectSameFiles(const std::string& a, const std::string& b) const {
    auto left = ReadTree(dir_ / a), right = ReadTree(dir_ / b);
    left.erase("manifest.json");
    right.erase("manifest.json");
    EXPECT_EQ(left.size(), right.size());
    for (const auto& [name, bytes] : left) {
      EXPECT_TRUE(right[name] == bytes) << name << " of " << a << " and " << b;
    }
  }

  nlohmann::json Settings(const std::string& name) const {
    return nlohmann::json::parse(ReadAll(dir_ / (name + "/config.json")))
        .at("quantization_config");
  }

  // The refusal of a plan, which writes nothing.
  std::string Refused(const std::string& from, const std::string& format,
                      Reason reason = Reason::kPlanRefused) {
    const auto result = Convert(from, format, "refused");
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(GetReason(result.status()), reason) << result.status();
    EXPECT_FALSE(std::filesystem::exists(Work("refused")));
    return std::string(result.status().message());
  }

  // One projection of the model.
  static constexpr char kDown[] = "model.layers.0.mlp.down_proj";

  TempDir dir_;
};

struct Trip {
  const char* scheme;
  const char* method;
};

TEST_F(CarryTest, RoundTripsThroughAllFormatsKeepEverything) {
  for (const Trip& trip : {Trip{"W4A16", "rtn"}, {"W4A16_ASYM", "hqq"}}) {
    TempDir fresh;
    OutputRequest request = Request(trip.scheme, "gptq_v2");
    request.method = trip.method;
    const std::string n = trip.scheme;
    Quantize(request, n + "v2");
    MustConvert(n + "v2", "awq", n + "awq");
    MustConvert(n + "awq", "compressed-tensors", n + "ct");
    MustConvert(n + "ct", "gptq", n + "v1");
    MustConvert(n + "v1", "gptq_v2", n + "back");
    MustConvert(n + "v1", "awq", n + "awq2");
    MustConvert(n + "back", "compressed-tensors", n + "ct2");
    for (const char* other : {"awq", "ct", "v1", "back", "awq2", "ct2"}) {
      ExpectSameCodes(n + "v2", n + other);
    }
    ExpectSameFiles(n + "v2", n + "back");
    ExpectSameFiles(n + "awq", n + "awq2");
    ExpectSameFiles(n + "ct", n + "ct2");
    EXPECT_EQ(Settings(n + "v1")["sym"], n == "W4A16");
    EXPECT_EQ(
        Settings(n + "ct")["config_groups"]["group_0"]["weights"]["symmetric"],
        n == "W4A16");
  }
}

// What compressed-tensors writes itself is what conversion makes.
TEST_F(CarryTest, ConvertedIsAsQuantized) {
  for (const char* scheme : {"W8A16", "W3A16", "W2A16"}) {
    const std::string n = scheme;
    Quantize(Request(scheme), n + "ct");
    Quantize(Request(scheme, "gptq"), n + "gptq");
    MustConvert(n + "ct", "gptq", n + "to");
    MustConvert(n + "gptq", "compressed-tensors", n + "from");
    ExpectSameFiles(n + "gptq", n + "to");
    ExpectSameFiles(n + "ct", n + "from");
  }
}

TEST_F(CarryTest, BytesAreAsPlannedAtAnyThreadCount) {
  Quantize(Request("W4A16_ASYM", "awq"), "awq");
  for (const char* format : {"gptq_v2", "compressed-tensors", "awq"}) {
    const auto plan = PlanModel(dir_ / "awq", {Carried(format)});
    ASSERT_TRUE(plan.ok()) << plan.status();
    MustConvert("awq", format, absl::StrCat(format, 1), 1);
    MustConvert("awq", format, absl::StrCat(format, 5), 5);
    auto one = ReadTree(dir_ / absl::StrCat(format, 1));
    EXPECT_EQ(one, ReadTree(dir_ / absl::StrCat(format, 5)));
    int64_t total = 0;
    for (const auto& [name, bytes] : one) {
      total += static_cast<int64_t>(bytes.size());
    }
    EXPECT_EQ(total, plan->outputs[0].total_bytes);
    for (const PlannedFile& file : plan->outputs[0].files) {
      EXPECT_EQ(static_cast<int64_t>(one[file.path].size()), file.size_bytes);
    }
    for (const TensorPlan& tensor : plan->outputs[0].tensors) {
      EXPECT_EQ(tensor.reason, tensor.quantized ? "codes as they are"
                                                : "copied: not quantized");
      EXPECT_EQ(tensor.scheme.name, tensor.quantized ? "W4A16_ASYM" : "");
    }
  }
  ExpectSameFiles("awq", "awq5");
}

TEST_F(CarryTest, OneReadFeedsSeveralFormats) {
  Quantize(Request("W4A16"), "ct");
  const auto result =
      RunPipeline(dir_ / "ct", {.outputs = {Carried("awq"), Carried("gptq")}},
                  Work("both"));
  ASSERT_TRUE(result.ok()) << result.status();
  for (const ExecutedOutput& output : result->outputs) {
    MustConvert("ct", output.name, output.name);
    EXPECT_EQ(ReadTree(output.directory), ReadTree(dir_ / output.name));
    EXPECT_EQ(output.metrics.at("max_abs_error"), 0);
    EXPECT_EQ(output.metrics.at("quantized_tensors"), 7);
    EXPECT_EQ(output.metrics.count("sqnr_db"), 0u);
  }
}

TEST_F(CarryTest, ResumesAfterAnInterruption) {
  Quantize(Request("W4A16"), "ct");
  std::stop_source stop;
  ExecuteOptions options;
  options.stop = stop.get_token();
  options.journal = [&](int64_t done) {
    if (done == 4) stop.request_stop();
  };
  const PlanRequest request{.outputs = {Carried("gptq")}};
  const auto cut =
      RunPipeline(dir_ / "ct", request, Work("resumed"), 2, options);
  ASSERT_TRUE(absl::IsCancelled(cut.status())) << cut.status();
  const auto result = RunPipeline(dir_ / "ct", request, Work("resumed"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GE(result->tensors_resumed, 4);
  MustConvert("ct", "gptq", "whole");
  EXPECT_EQ(ReadTree(result->outputs[0].directory), ReadTree(dir_ / "whole"));
}

// Half of the columns of each group of one weight change places.
void Reorder(const std::string& directory, const std::string& module,
             int64_t columns, int64_t group) {
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t other = i % 2 == 0 ? i : columns - 1 - i;
    PatchElement(directory, module + ".g_idx", i,
                 static_cast<uint32_t>(other / group));
  }
}

TEST_F(CarryTest, ActOrderIsCarriedWhereThereIsAnIndex) {
  Quantize(Request("W4A16_ASYM", "gptq_v2"), "gptq");
  Reorder(dir_ / "gptq", kDown, 640, 128);
  MustConvert("gptq", "compressed-tensors", "ct");
  ExpectSameCodes("gptq", "ct");
  EXPECT_FALSE(
      Codes("ct")[absl::StrCat(kDown, ".weight")].column_groups.empty());
  EXPECT_EQ(Settings("ct")["config_groups"]["group_0"]["weights"]["actorder"],
            "group");
  MustConvert("ct", "gptq_v2", "back");
  ExpectSameCodes("gptq", "back");
  EXPECT_EQ(Settings("gptq")["desc_act"], false);  // we wrote it in order
  EXPECT_EQ(Settings("back")["desc_act"], true);
  EXPECT_EQ(ReadAll(dir_ / "gptq/model.safetensors"),
            ReadAll(dir_ / "back/model.safetensors"));
  const std::string why = Refused("gptq", "awq");
  EXPECT_THAT(why, HasSubstr("in act-order"));
  EXPECT_THAT(why, HasSubstr("per group of consecutive columns"));
  EXPECT_THAT(why, HasSubstr("the nearest is format \"compressed-tensors\" or "
                             "\"gptq\" or \"gptq_v2\""));
}

TEST_F(CarryTest, UnequalGroupsAreRefused) {
  Quantize(Request("W4A16", "gptq"), "gptq");
  PatchElement(dir_ / "gptq", absl::StrCat(kDown, ".g_idx"), 0, 1);
  for (const char* format : {"compressed-tensors", "gptq_v2"}) {
    const std::string why = Refused("gptq", format);
    EXPECT_THAT(why, HasSubstr(absl::StrCat(kDown, ".weight [256, 640]: ")));
    EXPECT_THAT(why, HasSubstr("groups of unequal size"));
  }
}

TEST_F(CarryTest, AwqTakesFourBitsInGroupsOnly) {
  for (const char* scheme : {"W8A16", "W3A16", "W2A16"}) {
    Quantize(Request(scheme), scheme);
    const std::string why = Refused(scheme, "awq");
    EXPECT_THAT(why, HasSubstr("it holds 4-bit integers"));
    EXPECT_THAT(why, HasSubstr("model.layers.0.mlp.down_proj.weight "
                               "[256, 640] and 6 more: "));
    EXPECT_THAT(why, HasSubstr("the nearest is format \"compressed-tensors\" "
                               "or \"gptq\" or \"gptq_v2\""));
  }
  OutputRequest whole = Request("W4A16");
  whole.scheme.granularity = Granularity::kTensor;
  whole.scheme.group_size = 0;
  Quantize(whole, "tensor");
  EXPECT_THAT(Refused("tensor", "awq"),
              HasSubstr("the nearest is format \"compressed-tensors\""));
  EXPECT_THAT(Refused("tensor", "gptq"),
              HasSubstr("the nearest is format \"compressed-tensors\""));
}

TEST_F(CarryTest, WidthsThatGptqLacks) {
  for (const char* scheme : {"W5A16", "W6A16", "W7A16"}) {
    Quantize(Request(scheme), scheme);
    const std::string why = Refused(scheme, "gptq");
    EXPECT_THAT(why, HasSubstr("2, 3, 4 and 8 bits are read"));
    EXPECT_THAT(why, HasSubstr("the nearest is format \"compressed-tensors\""));
  }
}

TEST_F(CarryTest, OneSettingForAllModulesOfAwq) {
  OutputRequest request = Request("W4A16");
  request.rules = {{"mlp.down", *FindScheme("W4A16")}};
  request.rules[0].scheme->group_size = 64;
  Quantize(request, "ct");
  EXPECT_THAT(Refused("ct", "awq", Reason::kUnsupported),
              HasSubstr("one setting for all modules"));
  MustConvert("ct", "gptq", "gptq");
  ExpectSameCodes("ct", "gptq");
}

TEST_F(CarryTest, HeadsThatAwqLacks) {
  OutputRequest request = Request("W4A16");
  request.rules = {{"LmHead", *FindScheme("W4A16")}};
  Quantize(request, "ct");
  EXPECT_THAT(Refused("ct", "awq"),
              HasSubstr("lm_head.weight [96, 256]: no loader of format \"awq\" "
                        "reads a quantized lm_head"));
}

// BF16 scales are F16 values, but where F16 ends.
TEST_F(CarryTest, ScalesThatWouldChangeAreRefused) {
  Quantize(Request("W4A16"), "ct", DType::kBF16);
  MustConvert("ct", "awq", "awq");
  ExpectSameCodes("ct", "awq");
  MustConvert("ct", "gptq", "gptq");  // which has BF16 scales
  MustConvert("gptq", "compressed-tensors", "back");
  ExpectSameFiles("ct", "back");
  for (float scale : {0x1.02p-20f, 1e6f, 1e-30f}) {
    PatchElement(dir_ / "ct", absl::StrCat(kDown, ".weight_scale"), 7,
                 F32ToBf16(scale));
    const std::string why = Refused("ct", "awq");
    EXPECT_THAT(why, HasSubstr(absl::StrCat(
                         kDown,
                         ".weight [256, 640]: scale of row 1, group 2 "
                         "is BF16 ")));
    EXPECT_THAT(why, HasSubstr("which is no F16"));
    EXPECT_THAT(why, HasSubstr("the nearest is format \"compressed-tensors\" "
                               "or \"gptq\" or \"gptq_v2\""));
    MustConvert("ct", "gptq", absl::StrCat("gptq", scale));
    ExpectSameCodes("ct", absl::StrCat("gptq", scale));
  }
}

TEST_F(CarryTest, FloatScalesOfMoreBitsAreRefused) {
  Quantize(Request("W4A16"), "ct", DType::kF32);
  for (const char* format : {"awq", "gptq", "gptq_v2"}) {
    const std::string why = Refused("ct", format);
    EXPECT_THAT(why, HasSubstr(" is F32 "));
    EXPECT_THAT(why, HasSubstr("the nearest is format \"compressed-tensors\""));
  }
}

TEST_F(CarryTest, ScalesThatAreNotFiniteAreRefused) {
  Quantize(Request("W4A16"), "ct");
  for (uint32_t bits : {0x7C00u, 0xFC00u, 0x7E01u}) {
    PatchElement(dir_ / "ct", absl::StrCat(kDown, ".weight_scale"), 7, bits);
    EXPECT_THAT(Refused("ct", "gptq"),
                HasSubstr("scale of row 1, group 2 is NaN or infinite"));
  }
}

TEST_F(CarryTest, ZeroPointsThatVersionOneLacksAreRefused) {
  Quantize(Request("W4A16_ASYM", "gptq_v2"), "v2");
  MustConvert("v2", "gptq", "v1");
  ExpectSameCodes("v2", "v1");
  // The zero points of outputs 8 to 15 in group 0, the third of them 0.
  PatchElement(dir_ / "v2", absl::StrCat(kDown, ".qzeros"), 1, 0x88888088);
  const std::string why = Refused("v2", "gptq");
  EXPECT_THAT(why, HasSubstr("the zero point of row 10, group 0 is 0; format "
                             "\"gptq\" can say 1 to 15"));
  EXPECT_THAT(why, HasSubstr("the nearest is format \"awq\" or "
                             "\"compressed-tensors\" or \"gptq_v2\""));
  MustConvert("v2", "awq", "awq");
  ExpectSameCodes("v2", "awq");
}

TEST_F(CarryTest, WhatHoldsNoSuchCodesIsRefused) {
  WriteModel(dir_ / "bare", LlamaTensors(256, 640));
  EXPECT_THAT(Refused("bare", "awq"), HasSubstr("holds no codes"));
  const std::pair<const char*, const char*> others[] = {
      {"NF4", "bitsandbytes"},
      {"LLM_INT8", "bitsandbytes"},
      {"FP8_BLOCK", "fp8"},
      {"W8A8", "compressed-tensors"},
      {"NVFP4A16", "compressed-tensors"}};
  for (const auto& [scheme, format] : others) {
    Quantize(Request(scheme, format), scheme);
    EXPECT_FALSE(Refused(scheme, "compressed-tensors").empty());
  }
}

// Loaders would quantize activations, the cache or rotated weights.
TEST_F(CarryTest, SettingsThatNoOtherFormatHasAreRefused) {
  Quantize(Request("W4A16"), "ct");
  const std::string path = dir_ / "ct/config.json";
  const std::string text = ReadAll(path);
  const auto refused = [&](auto change) {
    nlohmann::json config = nlohmann::json::parse(text);
    change(config["quantization_config"]);
    WriteAll(path, config.dump());
    return Refused("ct", "gptq");
  };
  EXPECT_THAT(
      refused([](auto& q) {
        q["config_groups"]["group_0"]["input_activations"] = {{"num_bits", 8}};
      }),
      HasSubstr("config_groups.group_0.input_activations"));
  EXPECT_THAT(refused([](auto& q) { q["kv_cache_scheme"]["num_bits"] = 8; }),
              HasSubstr("kv_cache_scheme"));
  WriteAll(path, text);
  MustConvert("ct", "gptq", "gptq");
}

TEST_F(CarryTest, RequestsThatCanNotBe) {
  Quantize(Request("W4A16"), "ct");
  for (const char* format : {"gguf", "safetensors", "dequantized", "fp8"}) {
    EXPECT_THAT(Refused("ct", format, Reason::kUnsupported),
                HasSubstr("awq, compressed-tensors, gptq, gptq_v2 do"));
  }
  EXPECT_THAT(Refused("ct", "awk", Reason::kUnknownName),
              HasSubstr("did you mean \"awq\""));
  OutputRequest cast = Request("F16", "safetensors");
  const auto mixed = PlanModel(dir_ / "ct", {Carried("awq"), cast});
  EXPECT_EQ(GetReason(mixed.status()), Reason::kInvalidSpec);
}

}  // namespace
}  // namespace quant

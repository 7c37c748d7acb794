#include "core/recipe/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "core/artifact/format.h"
#include "core/artifact/loader.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/method/method.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::QuantizeTensorRequest Array(const std::string& scheme,
                                const std::vector<float>& values,
                                std::vector<int64_t> shape = {}) {
  v1::QuantizeTensorRequest request;
  request.mutable_recipe()->set_scheme(scheme);
  for (float value : values) request.add_values(value);
  for (int64_t dimension : shape) request.add_shape(dimension);
  return request;
}

// Scale 15 / 7.5 = 2; 15 / 2 = 7.5 goes to even 8 and is clamped to 7.
TEST(QuantizeTensor, TextbookSymmetric) {
  const auto out = QuantizeTensor(Array("W4A16", {15, -15, 3, 1, -2.5f, 0}));
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_THAT(out->scales(), ElementsAre(2.0f));
  EXPECT_THAT(out->codes(), ElementsAre(7, -8, 2, 0, -1, 0));
  EXPECT_THAT(out->dequantized(), ElementsAre(14, -16, 4, 0, -2, 0));
  EXPECT_EQ(out->zero_points_size(), 0);
  EXPECT_THAT(out->scale_shape(), ElementsAre(1, 1));
  EXPECT_NEAR(out->mse(), (1 + 1 + 1 + 1 + 0.25) / 6, 1e-9);
  EXPECT_EQ(out->max_abs_error(), 1);
  EXPECT_NEAR(out->sqnr_db(),
              10 * std::log10((225 + 225 + 9 + 1 + 6.25) / 4.25), 1e-9);
}

// [-1, 2] over 15 steps: scale 0.2, zero point -8 + 5 = -3.
TEST(QuantizeTensor, TextbookAsymmetric) {
  const auto out = QuantizeTensor(Array("W4A16_ASYM", {-1, 2, 0.5f, 0}));
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_NEAR(out->scales(0), 0.2, 1e-6);
  EXPECT_THAT(out->zero_points(), ElementsAre(-3));
  EXPECT_THAT(out->codes(), ElementsAre(-8, 7, -1, -3));
}

// The largest value is 448 codes: the codes are bit patterns.
TEST(QuantizeTensor, TextbookFp8) {
  const auto out = QuantizeTensor(Array("FP8_DYNAMIC", {448, -448, 1, 17, 0}));
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_THAT(out->codes(), ElementsAre(0x7E, 0xFE, 0x38, 0x58, 0));
  EXPECT_THAT(out->dequantized(), ElementsAre(448, -448, 1, 16, 0));
}

TEST(QuantizeTensor, EveryPresetAnswersOnRaggedShapes) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(3 * 200);
  for (float& v : values) v = normal(random);
  for (const Preset& preset : Presets()) {
    for (const char* scale : {"minmax", "mse"}) {
      auto request = Array(preset.scheme.name, values, {3, 200});
      request.mutable_recipe()->set_scale(scale);
      const auto out = QuantizeTensor(request);
      if (!preset.unavailable.empty()) {
        EXPECT_EQ(GetField(out.status()), "recipe.scheme");
        continue;
      }
      if (preset.scheme.has_inner_scales()) {
        // Blocks fill rows.
        EXPECT_EQ(GetField(out.status()), "shape") << preset.scheme.name;
        continue;
      }
      ASSERT_TRUE(out.ok()) << preset.scheme.name << " " << out.status();
      EXPECT_EQ(out->codes_size(), 600);
      EXPECT_EQ(out->dequantized_size(), 600);
      EXPECT_EQ(out->scale_shape(0) * out->scale_shape(1), out->scales_size());
      double noise = 0;
      for (int i = 0; i < 600; ++i) {
        noise += std::pow(double{out->dequantized(i)} - values[i], 2);
      }
      EXPECT_NEAR(out->mse(), noise / 600, 1e-6 * (1 + noise));
      EXPECT_EQ(out->has_sqnr_db(), noise > 0) << preset.scheme.name;
      EXPECT_GE(out->bits_per_value(), preset.scheme.bits);
    }
  }
}

TEST(QuantizeTensor, BlocksComeAsTheyLieInFiles) {
  std::vector<float> values(64, 0.5f);
  values[0] = -4;
  auto request = Array("Q8_0", values, {2, 32});
  const auto out = QuantizeTensor(request);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->blocks().size(), 2 * 34u);
  EXPECT_EQ(out->codes_size(), 0);
  EXPECT_EQ(out->dequantized_size(), 64);
  EXPECT_EQ(out->bits_per_value(), 8.5);
  request.add_importance(1);
  EXPECT_EQ(GetField(QuantizeTensor(request).status()), "importance");
}

TEST(QuantizeTensor, WholeTensorSearchesItsScaleToo) {
  auto request = Array("W4A16", {1, 1.1f, 0.9f, -1, -1.05f, 7.5f});
  request.mutable_recipe()->set_whole(v1::WHOLE_GRANULARITY_TENSOR);
  const double minmax = QuantizeTensor(request)->mse();
  request.mutable_recipe()->set_scale("mse");
  EXPECT_LT(QuantizeTensor(request)->mse(), minmax);
}

TEST(QuantizeTensor, ErrorsNameTheField) {
  const auto field = [](const v1::QuantizeTensorRequest& request) {
    const auto out = QuantizeTensor(request);
    EXPECT_EQ(out.status().code(), absl::StatusCode::kInvalidArgument)
        << out.status();
    return GetField(out.status());
  };
  EXPECT_EQ(field(Array("W4A61", {1})), "recipe.scheme");
  EXPECT_EQ(field(Array("W4A16", {})), "values");
  EXPECT_EQ(field(Array("W4A16", {1, 2, 3}, {2, 2})), "shape");
  EXPECT_EQ(field(Array("W4A16", {1, 2}, {1, 1, 2})), "shape");
  EXPECT_EQ(field(Array("W4A16", {1, 2}, {-1, -2})), "shape");
  EXPECT_EQ(field(Array("W4A16", {1, 2}, {int64_t{1} << 62, 4})), "shape");
  EXPECT_EQ(field(Array("W4A16", {1, std::nanf("")})), "values[1]");
  auto request = Array("W4A16", {1});
  request.mutable_recipe()->set_scale("max");
  EXPECT_EQ(field(request), "recipe.scale");
  request = Array("W4A16", {1});
  request.mutable_recipe()->set_group_size(-4);
  EXPECT_EQ(field(request), "recipe.group_size");
  request = Array("W4A16", {1});
  request.mutable_recipe()->set_method("gtpq");
  EXPECT_FALSE(QuantizeTensor(request).ok());
  request = Array("W4A16", std::vector<float>(kMaxInlineTensorValues + 1, 1));
  EXPECT_EQ(field(request), "values");
}

TEST(QuantizeTensor, NonfiniteZeroMaps) {
  auto request = Array("W4A16", {7.5f, std::numeric_limits<float>::infinity()});
  request.mutable_recipe()->set_nonfinite(v1::NONFINITE_ZERO);
  const auto out = QuantizeTensor(request);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_THAT(out->codes(), ElementsAre(7, 0));
}

TEST(Capabilities, ListEverythingThatIsRegistered) {
  const v1::Capabilities all = DescribeCapabilities();
  EXPECT_EQ(all.schemes_size(), static_cast<int>(Presets().size()));
  EXPECT_EQ(all.methods_size(), static_cast<int>(Methods().size()));
  EXPECT_EQ(all.formats_size(), static_cast<int>(Formats().size()));
  EXPECT_FALSE(all.version().empty());
  EXPECT_GT(all.cpu_targets_size(), 0);
  EXPECT_THAT(all.gate_metrics(), Contains("min_sqnr_db"));
  EXPECT_GT(all.limits().max_outputs(), 0);
  ASSERT_EQ(all.loaders_size(), static_cast<int>(Loaders().size()));
  size_t rules = 0;
  for (const v1::Loader& loader : all.loaders()) {
    EXPECT_GT(loader.rules_size(), 0) << loader.name();
    rules += loader.rules_size();
  }
  EXPECT_EQ(rules, LoaderRules().size());
  for (const v1::SchemeInfo& scheme : all.schemes()) {
    if (!scheme.unavailable().empty()) {
      EXPECT_EQ(scheme.formats_size(), 0) << scheme.name();
      continue;
    }
    EXPECT_THAT(scheme.formats(), Contains("dequantized")) << scheme.name();
    // What is listed can be asked for.
    for (const std::string& format : scheme.formats()) {
      v1::JobSpec spec;
      v1::Recipe& recipe = *spec.add_outputs()->mutable_recipe();
      recipe.set_scheme(scheme.name());
      recipe.set_format(format);
      EXPECT_TRUE(ToPlanRequest(spec, 1).ok()) << scheme.name() << format;
    }
  }
}

TEST(DescribeModel, OfTheBundledModel) {
  const auto model =
      OpenModel(QUANT_SOURCE_DIR "/examples/tiny-own-pad768-bf16");
  ASSERT_TRUE(model.ok()) << model.status();
  ThreadPool pool(3);
  const auto info = DescribeModel(**model, /*dtypes=*/true, pool);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->architecture(), "LlamaForCausalLM");
  EXPECT_EQ(info->model_type(), "llama");
  EXPECT_EQ(info->tensor_bytes(), 2 * info->parameters());
  EXPECT_GT(info->tensors_size(), 30);
  EXPECT_THAT(info->side_files(), Contains("tokenizer.json"));
  for (const v1::DtypeFit& fit : info->dtypes()) {
    EXPECT_EQ(fit.total_count(), info->parameters());
    if (fit.dtype() == "FP32" || fit.dtype() == "BF16") {
      EXPECT_EQ(fit.overflow_count() + fit.underflow_count(), 0) << fit.dtype();
    }
    if (fit.dtype() == "INT4") EXPECT_GT(fit.underflow_count(), 0);
  }
  // The same at any thread count.
  ThreadPool one(1);
  EXPECT_EQ(DescribeModel(**model, true, one)->SerializeAsString(),
            info->SerializeAsString());
}

}  // namespace
}  // namespace quant

// What every method promises, for every scheme and both scale rules.
#include "core/method/method.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <tuple>

#include "absl/strings/match.h"
#include "core/base/error.h"
#include "core/kernels/targets.h"
#include "core/tensor/float_formats.h"
#include "tests/conformance/presets.h"
#include "tests/core/tolerances.h"

namespace quant {
namespace {

// Weights as models have them, in BF16.
std::vector<float> NormalWeights(int64_t rows, int64_t cols) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> x(rows * cols);
  for (float& v : x) v = Bf16ToF32(F32ToBf16(normal(random)));
  return x;
}

struct Result {
  CodeTile tile;
  ErrorSums sums;
};

// Quantizes rows in tiles of `tile_rows`, all passes, as the pipeline does.
Result QuantizeInTiles(const QuantMethod& method, const Codec& codec,
                       const MethodOptions& options,
                       const std::vector<float>& x, int64_t rows, int64_t cols,
                       int64_t tile_rows) {
  MethodScratch scratch;
  TensorStats stats;
  const int passes = method.ReducePasses(codec, options);
  for (int pass = 0; pass < passes; ++pass) {
    TensorStats next = stats;
    for (int64_t row = 0; row < rows; row += tile_rows) {
      const int64_t n = std::min(tile_rows, rows - row);
      method.Combine(pass,
                     method.Reduce(pass, codec, options, x.data() + row * cols,
                                   n, cols, stats, scratch),
                     next);
    }
    stats = next;
  }
  Result result;
  result.tile.rows = rows;
  result.tile.cols = cols;
  CodeTile part;
  for (int64_t row = 0; row < rows; row += tile_rows) {
    const int64_t n = std::min(tile_rows, rows - row);
    result.sums.Add(method.Quantize(
        codec, options, stats, x.data() + row * cols, n, cols, part, scratch));
    auto& tile = result.tile;
    tile.codes.insert(tile.codes.end(), part.codes.begin(), part.codes.end());
    const bool per_tensor = codec.scheme().granularity == Granularity::kTensor;
    if (per_tensor && row > 0) continue;
    tile.scales.insert(tile.scales.end(), part.scales.begin(),
                       part.scales.end());
    tile.zeros.insert(tile.zeros.end(), part.zeros.begin(), part.zeros.end());
  }
  return result;
}

using Param = std::tuple<std::string, Scheme, ScaleRule>;

class MethodConformance : public ::testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
    const auto& [name, scheme, rule] = GetParam();
    auto method = FindMethod(name);
    ASSERT_TRUE(method.ok()) << method.status();
    method_ = *method;
    auto codec = MakeCodec(scheme);
    ASSERT_TRUE(codec.ok()) << codec.status();
    codec_ = *std::move(codec);
    options_ = {.scale = rule, .scale_type = DType::kBF16, .narrow = true};
    ASSERT_TRUE(method_->Check(scheme).ok());
  }

  Result Run(const std::vector<float>& x, int64_t rows, int64_t cols,
             int64_t tile_rows) const {
    return QuantizeInTiles(*method_, *codec_, options_, x, rows, cols,
                           tile_rows);
  }

  int64_t Cols(int64_t cols) const {
    return FittingCols(codec_->scheme(), cols);
  }

  const QuantMethod* method_ = nullptr;
  std::unique_ptr<Codec> codec_;
  MethodOptions options_;
};

TEST_P(MethodConformance, TilingDoesNotShow) {
  const int64_t rows = 300, cols = Cols(152);
  const std::vector<float> x = NormalWeights(rows, cols);
  const int64_t multiple = codec_->row_multiple();
  const Result whole = Run(x, rows, cols, 3 * std::max<int64_t>(multiple, 100));
  for (int64_t tile_rows : {multiple, 2 * multiple, 32 * multiple}) {
    const Result tiled = Run(x, rows, cols, tile_rows);
    EXPECT_EQ(tiled.tile.codes, whole.tile.codes) << tile_rows;
    EXPECT_EQ(tiled.tile.scales, whole.tile.scales) << tile_rows;
    EXPECT_EQ(tiled.tile.zeros, whole.tile.zeros) << tile_rows;
    EXPECT_NEAR(tiled.sums.noise, whole.sums.noise,
                whole.sums.noise * kSumRelative);
    EXPECT_NEAR(tiled.sums.signal, whole.sums.signal,
                whole.sums.signal * kSumRelative);
    EXPECT_EQ(tiled.sums.max_abs_error, whole.sums.max_abs_error);
  }
}

TEST_P(MethodConformance, SumsAreThoseOfTheDecodedWeights) {
  const int64_t rows = 130, cols = Cols(136);
  const std::vector<float> x = NormalWeights(rows, cols);
  const Result result = Run(x, rows, cols, rows);
  double noise = 0, signal = 0;
  std::vector<float> back(cols);
  for (int64_t r = 0; r < rows; ++r) {
    codec_->DecodeRow(result.tile.codes.data() + r * codec_->row_bytes(cols),
                      cols, codec_->ScalesOfRow(result.tile, r, false),
                      back.data());
    for (int64_t c = 0; c < cols; ++c) {
      const double error = static_cast<double>(back[c] - x[r * cols + c]);
      noise += error * error;
      signal += static_cast<double>(x[r * cols + c]) * x[r * cols + c];
    }
  }
  EXPECT_NEAR(result.sums.noise, noise, noise * kSumRelative);
  EXPECT_NEAR(result.sums.signal, signal, signal * kSumRelative);
}

// Scratch and tiles that held other things before make no difference.
TEST_P(MethodConformance, ReusedBuffersDoNotShow) {
  MethodScratch scratch;
  CodeTile tile, fresh_tile;
  const std::vector<float> big = NormalWeights(256, 256);
  const int64_t cols = Cols(40);
  const std::vector<float> small(3 * cols, 0.5f);
  TensorStats stats{.lo = -1, .hi = 1, .candidate_noise = {}};
  method_->Quantize(*codec_, options_, stats, big.data(), 256, 256, tile,
                    scratch);
  method_->Quantize(*codec_, options_, stats, small.data(), 3, cols, tile,
                    scratch);
  MethodScratch fresh;
  method_->Quantize(*codec_, options_, stats, small.data(), 3, cols, fresh_tile,
                    fresh);
  EXPECT_EQ(tile.rows, 3);
  EXPECT_EQ(tile.cols, cols);
  EXPECT_EQ(tile.codes, fresh_tile.codes);
  EXPECT_EQ(tile.scales, fresh_tile.scales);
  EXPECT_EQ(tile.zeros, fresh_tile.zeros);
}

TEST_P(MethodConformance, ZerosStayZeros) {
  const int64_t cols = Cols(128);
  const std::vector<float> x(64 * cols, 0.0f);
  const Result result = Run(x, 64, cols, 64);
  EXPECT_EQ(result.sums.noise, 0);
  const Scheme& scheme = codec_->scheme();
  // NF4's zero is code 7; scales with a tensor scale are whatever is harmless.
  const int zero = scheme.type == NumberType::kNF4 ? 7 : 0;
  for (float scale : result.tile.scales) {
    EXPECT_GT(scale, 0.0f);
    if (!scheme.has_tensor_scale()) EXPECT_EQ(scale, 1.0f);
  }
  // Inside blocks, zero may be another code.
  if (codec_->chooses_scales()) return;
  for (uint8_t code : result.tile.codes) EXPECT_EQ(code, zero);
}

// Rows as a source holds them, on every SIMD target: the shorter way, where
// there is one, gives what the way through floats gives on the best target.
TEST_P(MethodConformance, TheShorterWayGivesTheSame) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    options_.scale_type = dtype;
    for (int64_t width : {1, 40, 128, 152, 1024}) {
      const int64_t cols = Cols(width);
      const int64_t rows = codec_->row_multiple();
      std::vector<uint16_t> source;
      std::vector<float> x;
      for (float v : NormalWeights(rows, cols)) {
        const bool half = dtype == DType::kF16;
        source.push_back(half ? F32ToF16(v) : F32ToBf16(v));
        x.push_back(half ? F16ToF32(source.back()) : Bf16ToF32(source.back()));
      }
      const auto* bytes = reinterpret_cast<const uint8_t*>(source.data());
      MethodScratch scratch;
      CodeTile tile, direct;
      const ErrorSums sums = method_->Quantize(*codec_, options_, {}, x.data(),
                                               rows, cols, tile, scratch);
      for (const std::string& target : KernelTargets()) {
        ForceKernelTarget(target);
        const auto short_sums = method_->QuantizeSource(
            *codec_, options_, dtype, bytes, rows, cols, direct, scratch);
        ForceKernelTarget("");
        if (!short_sums) continue;
        EXPECT_EQ(direct.codes, tile.codes) << target << " " << cols;
        EXPECT_EQ(direct.scales, tile.scales) << target << " " << cols;
        EXPECT_EQ(direct.zeros, tile.zeros) << target << " " << cols;
        EXPECT_EQ(short_sums->noise, sums.noise) << target << " " << cols;
        EXPECT_EQ(short_sums->signal, sums.signal) << target << " " << cols;
        EXPECT_EQ(short_sums->max_abs_error, sums.max_abs_error) << target;
      }
      source.back() = dtype == DType::kF16 ? 0x7C00 : 0xFF80;
      EXPECT_FALSE(method_->QuantizeSource(*codec_, options_, dtype, bytes,
                                           rows, cols, direct, scratch));
    }
  }
}

// Those that the method can do; RefusalsHelp looks at the others.
std::vector<Scheme> SchemesOf(absl::string_view method) {
  std::vector<Scheme> schemes = AllSchemes();
  std::erase_if(schemes, [&](const Scheme& scheme) {
    return !(*FindMethod(method))->Check(scheme).ok();
  });
  return schemes;
}

TEST(Methods, RefusalsHelp) {
  for (const MethodInfo& method : Methods()) {
    EXPECT_FALSE(SchemesOf(method.name).empty()) << method.name;
    for (const Scheme& scheme : AllSchemes()) {
      const absl::Status status = (*FindMethod(method.name))->Check(scheme);
      if (status.ok()) continue;
      EXPECT_EQ(GetReason(status), Reason::kUnsupported) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), scheme.name)) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), "nearest")) << status;
    }
  }
}

std::vector<Param> AllParams() {
  std::vector<Param> params;
  for (const MethodInfo& method : Methods()) {
    for (const Scheme& scheme : SchemesOf(method.name)) {
      for (ScaleRule rule : {ScaleRule::kMinmax, ScaleRule::kMse}) {
        params.emplace_back(std::string(method.name), scheme, rule);
      }
    }
  }
  return params;
}

std::string NameOf(const ::testing::TestParamInfo<Param>& info) {
  const auto& [name, scheme, rule] = info.param;
  return name + (rule == ScaleRule::kMse ? "_mse_" : "_minmax_") +
         SchemeTestName(scheme);
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodConformance,
                         ::testing::ValuesIn(AllParams()), NameOf);

class MseConformance
    : public ::testing::TestWithParam<std::tuple<std::string, Scheme>> {};

// Round to nearest with the rule minmax: what every method must beat.
double BaselineNoise(const Codec& codec, const MethodOptions& options,
                     const std::vector<float>& x, int64_t rows, int64_t cols) {
  MethodOptions minmax = options;
  minmax.scale = ScaleRule::kMinmax;
  return QuantizeInTiles(**FindMethod("rtn"), codec, minmax, x, rows, cols,
                         rows)
      .sums.noise;
}

// Per scale, not just on the whole: minmax is one of the candidates.
TEST_P(MseConformance, IsNeverWorseThanMinmax) {
  const auto& [name, scheme] = GetParam();
  const QuantMethod& method = **FindMethod(name);
  const auto codec = *MakeCodec(scheme);
  std::mt19937 random(3);
  std::student_t_distribution<float> heavy(2.5f);
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<float> x(32 * 128);
    for (float& v : x) v = Bf16ToF32(F32ToBf16(heavy(random) * 0.02f));
    if (trial % 4 == 1) {
      for (float& v : x) v = std::fabs(v);
    }
    const MethodOptions options{
        .scale = ScaleRule::kMse, .scale_type = DType::kBF16, .narrow = true};
    const Result mse = QuantizeInTiles(method, *codec, options, x, 32, 128, 32);
    ASSERT_LE(mse.sums.noise,
              BaselineNoise(*codec, options, x, 32, 128) * (1 + kSumRelative))
        << trial;
  }
}

double MseGain(const QuantMethod& method, int bits) {
  Scheme scheme = *FindScheme("W4A16");
  scheme.bits = bits;
  const auto codec = *MakeCodec(scheme);
  const std::vector<float> x = NormalWeights(128, 512);
  const MethodOptions options{
      .scale = ScaleRule::kMse, .scale_type = DType::kBF16, .narrow = true};
  const double minmax = BaselineNoise(*codec, options, x, 128, 512);
  const double mse =
      QuantizeInTiles(method, *codec, options, x, 128, 512, 128).sums.noise;
  ::testing::Test::RecordProperty("gain_" + std::to_string(bits),
                                  std::to_string(mse / minmax));
  return mse / minmax;
}

TEST_P(MseConformance, IsMeasurablyBetterOnNormalWeights) {
  const QuantMethod& method = **FindMethod(std::get<0>(GetParam()));
  EXPECT_LT(MseGain(method, 4), kMseGain4Bits);
  EXPECT_LT(MseGain(method, 3), kMseGain3Bits);
  EXPECT_LT(MseGain(method, 2), kMseGain2Bits);
}

std::vector<std::tuple<std::string, Scheme>> MseParams() {
  std::vector<std::tuple<std::string, Scheme>> params;
  for (const MethodInfo& method : Methods()) {
    for (const Scheme& scheme : GridSchemes()) {
      const bool can = (*FindMethod(method.name))->Check(scheme).ok();
      if (can && !scheme.is_cast()) params.emplace_back(method.name, scheme);
    }
  }
  return params;
}

INSTANTIATE_TEST_SUITE_P(Methods, MseConformance,
                         ::testing::ValuesIn(MseParams()),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" +
                                  SchemeTestName(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace quant

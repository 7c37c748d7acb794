// What every codec promises, for every scheme of the registry, on rows that are
// made to hurt. Scales are minmax scales of what FromRange gives.
#include "core/codec/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "core/kernels/table_codes.h"
#include "core/tensor/float_formats.h"
#include "tests/conformance/presets.h"
#include "tests/core/tolerances.h"

namespace quant {
namespace {

constexpr DType kSourceTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

// To the nearest finite value of the type.
float RoundTo(float value, DType type) {
  if (type == DType::kF16) {
    return F16ToF32(F32ToF16(std::clamp(value, -65504.0f, 65504.0f)));
  }
  constexpr float kLargestBf16 = 3.3895313892515355e38f;
  if (type == DType::kBF16) {
    return Bf16ToF32(F32ToBf16(std::clamp(value, -kLargestBf16, kLargestBf16)));
  }
  return value;
}

struct Row {
  std::string name;
  std::vector<float> values;
};

std::vector<float> Filled(int n, float (*make)(int, std::mt19937&)) {
  std::mt19937 random(static_cast<unsigned>(n) + 17);
  std::vector<float> values;
  for (int i = 0; i < n; ++i) values.push_back(make(i, random));
  return values;
}

float Normal(std::mt19937& random) {
  std::normal_distribution<float> normal;
  return normal(random);
}

// The largest magnitude whose lowest code still dequantizes to a finite float:
// -2^(b-1) s is (q_max + 1) / (q_max + 1/2) of it.
constexpr float kHuge = std::numeric_limits<float>::max() * 0.74f;

std::vector<Row> AdversarialRows(int n) {
  return {
      {"zeros", Filled(n, [](int, auto&) { return 0.0f; })},
      {"minus zeros", Filled(n, [](int, auto&) { return -0.0f; })},
      {"ones", Filled(n, [](int, auto&) { return 1.0f; })},
      {"constant", Filled(n, [](int, auto&) { return -0.3f; })},
      {"normal", Filled(n, [](int, auto& r) { return Normal(r) * 0.02f; })},
      {"positive",
       Filled(n, [](int, auto& r) { return 5 + std::fabs(Normal(r)); })},
      {"negative",
       Filled(n, [](int, auto& r) { return -5 - std::fabs(Normal(r)); })},
      {"outlier",
       Filled(n, [](int i, auto& r) { return i == 3 ? 900.0f : Normal(r); })},
      {"tiny", Filled(n, [](int, auto& r) { return Normal(r) * 1e-7f; })},
      {"tinier", Filled(n, [](int, auto& r) { return Normal(r) * 1e-36f; })},
      {"denormal", Filled(n, [](int, auto& r) { return Normal(r) * 1e-40f; })},
      {"least",
       Filled(n, [](int i, auto&) { return (i % 3 - 1) * 0x1p-149f; })},
      {"huge",
       Filled(n, [](int i, auto&) { return (i % 2 ? -kHuge : kHuge); })},
      {"all magnitudes",
       Filled(n, [](int i,
                    auto& r) { return std::ldexp(Normal(r), i % 200 - 150); })},
      {"ramp", Filled(n, [](int i, auto&) { return 0.25f * (i - 40); })},
  };
}

// All codes of a quantizing scheme as values at scale 1 and zero point 0.
std::vector<double> CodeValues(const Scheme& scheme) {
  std::vector<double> values;
  if (scheme.type == NumberType::kInt) {
    const int half = 1 << (scheme.bits - 1);
    for (int q = -half; q < half; ++q) values.push_back(q);
    return values;
  }
  if (scheme.is_table()) {
    const CodeTable& table =
        TableOf(scheme.type == NumberType::kNF4      ? TableKind::kNF4
                : scheme.type == NumberType::kF4E2M1 ? TableKind::kE2M1
                                                     : TableKind::kBnbFp4);
    values.assign(table.values.begin(), table.values.end());
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
  }
  for (int code = 0; code < 256; ++code) {
    const float value = scheme.type == NumberType::kF8E4M3
                            ? E4m3ToF32(static_cast<uint8_t>(code))
                            : E5m2ToF32(static_cast<uint8_t>(code));
    if (std::isfinite(value)) values.push_back(value);
  }
  std::sort(values.begin(), values.end());
  return values;
}

// Distance from x to the nearest of codes; `half_gap`: half the distance
// between the codes around x (half a step where x is beyond the last).
double NearestDistance(const std::vector<double>& codes, double x,
                       double* half_gap) {
  const auto above = std::lower_bound(codes.begin(), codes.end(), x);
  const size_t last = codes.size() - 1;
  const size_t i = std::min<size_t>(above - codes.begin(), last);
  const double hi = codes[i], lo = codes[i == 0 ? 0 : i - 1];
  *half_gap = std::max(hi - lo, codes[1] - codes[0]) / 2;
  return std::min(std::fabs(x - hi), std::fabs(x - lo));
}

class CodecConformance : public ::testing::TestWithParam<Scheme> {
 protected:
  void SetUp() override {
    auto codec = MakeCodec(GetParam());
    ASSERT_TRUE(codec.ok()) << codec.status();
    codec_ = *std::move(codec);
    if (!GetParam().is_cast()) codes_ = CodeValues(GetParam());
  }

  // A tile of one row with minmax scales per cell.
  CodeTile Encode(const std::vector<float>& x, DType type, LaneSums& sums) {
    CodeTile tile{.rows = 1, .cols = static_cast<int64_t>(x.size())};
    tile.codes.resize(codec_->row_bytes(tile.cols));
    if (!GetParam().is_cast()) {
      const int64_t group = codec_->group(tile.cols);
      const ScaleType on_grid(type, TensorScaleOf(x, type));
      for (int64_t at = 0; at < tile.cols; at += group) {
        const auto begin = x.begin() + at;
        const auto end = x.begin() + std::min(at + group, tile.cols);
        const ScaleZero cell =
            codec_->FromRange(*std::min_element(begin, end),
                              *std::max_element(begin, end), on_grid);
        tile.scales.push_back(cell.scale);
        if (codec_->has_zeros()) tile.zeros.push_back(cell.zero);
      }
      codec_->StoreScales(on_grid, tile);
    }
    const bool narrow =
        type != DType::kF32 && GetParam().scales == ScaleKind::kFloat;
    codec_->EncodeRow(x.data(), tile.cols, codec_->ScalesOfRow(tile, 0, narrow),
                      tile.codes.data(), sums);
    return tile;
  }

  // Of the row as a whole tensor.
  float TensorScaleOf(const std::vector<float>& x, DType type) {
    const int64_t n = static_cast<int64_t>(x.size());
    const int64_t group = codec_->group(n);
    double sum = 0;
    for (int64_t at = 0; at < n; at += group) {
      const auto begin = x.begin() + at;
      const auto end = x.begin() + std::min(at + group, n);
      sum += codec_
                 ->FromRange(*std::min_element(begin, end),
                             *std::max_element(begin, end), type)
                 .scale;
    }
    return codec_->TensorScale(*std::min_element(x.begin(), x.end()),
                               *std::max_element(x.begin(), x.end()),
                               sum / ((n + group - 1) / group));
  }

  std::vector<float> Decode(const CodeTile& tile) {
    std::vector<float> out(tile.cols);
    codec_->DecodeRow(tile.codes.data(), tile.cols,
                      codec_->ScalesOfRow(tile, 0, false), out.data());
    return out;
  }

  // |x - x_hat| against the nearest code and half the distance between codes.
  void ExpectClose(float x, float back, float scale, int zero) {
    ASSERT_TRUE(std::isfinite(back)) << x << " scale " << scale;
    const bool integer = GetParam().type == NumberType::kInt;
    const double at = static_cast<double>(x) / scale + zero;
    double half_gap = 0;
    const double nearest = NearestDistance(codes_, at, &half_gap);
    const double slack =
        integer ? kIntStepSlack : std::fabs(at) * kFp8RelativeSlack;
    const double error =
        std::fabs(static_cast<double>(back) - x) - kFloatDenormMin;
    // A quantized scale may be too small for its group.
    if (GetParam().scales != ScaleKind::kNested) {
      ASSERT_LE(error, (half_gap + slack) * scale)
          << "x " << x << " back " << back << " scale " << scale;
    }
    ASSERT_LE(error, (nearest + slack) * scale)
        << "x " << x << " back " << back << " scale " << scale;
  }

  std::unique_ptr<Codec> codec_;
  std::vector<double> codes_;
};

TEST_P(CodecConformance, EveryWeightIsWithinHalfAStepOfTheStoredScale) {
  if (GetParam().is_cast()) return;  // casts have their own test below
  for (DType type : kSourceTypes) {
    for (int n : {1, 7, 128, 300}) {
      for (Row& row : AdversarialRows(n)) {
        for (float& v : row.values) v = RoundTo(v, type);
        LaneSums sums;
        const CodeTile tile = Encode(row.values, type, sums);
        const std::vector<float> back = Decode(tile);
        const int64_t group = codec_->group(n);
        for (int i = 0; i < n; ++i) {
          const float scale = tile.scales[i / group];
          ASSERT_GT(scale, 0) << row.name;
          if (GetParam().scales == ScaleKind::kFloat) {
            ASSERT_EQ(RoundTo(scale, type), scale) << "not of the stored type";
          }
          const int zero = tile.zeros.empty() ? 0 : tile.zeros[i / group];
          ASSERT_NO_FATAL_FAILURE(
              ExpectClose(row.values[i], back[i], scale, zero))
              << row.name << " " << DTypeName(type) << " n " << n;
        }
      }
    }
  }
}

TEST_P(CodecConformance, SumsAreThoseOfTheDecodedRow) {
  for (Row& row : AdversarialRows(300)) {
    if (row.name == "huge") continue;
    for (float& v : row.values) v = RoundTo(v, DType::kF16);
    LaneSums sums;
    const CodeTile tile = Encode(row.values, DType::kF16, sums);
    const std::vector<float> back = Decode(tile);
    double noise = 0, signal = 0, largest = 0;
    for (size_t i = 0; i < back.size(); ++i) {
      const double error = static_cast<double>(back[i] - row.values[i]);
      noise += error * error;
      signal += static_cast<double>(row.values[i]) * row.values[i];
      largest = std::max(largest, std::fabs(error));
    }
    EXPECT_NEAR(CombineLanes(sums.noise), noise, noise * kSumRelative)
        << row.name;
    EXPECT_NEAR(CombineLanes(sums.signal), signal, signal * kSumRelative)
        << row.name;
    EXPECT_EQ(sums.max_abs_error, largest) << row.name;
  }
}

// Encoding what was decoded, with the same scales, gives the same codes.
TEST_P(CodecConformance, IsIdempotent) {
  for (DType type : kSourceTypes) {
    for (Row& row : AdversarialRows(300)) {
      for (float& v : row.values) v = RoundTo(v, type);
      LaneSums sums, again_sums;
      const CodeTile tile = Encode(row.values, type, sums);
      // Products of FP8 values and scales this small are not exact.
      const bool exact = std::all_of(tile.scales.begin(), tile.scales.end(),
                                     [](float s) { return s > 1e-34f; });
      if (!exact && GetParam().type != NumberType::kInt) continue;
      const std::vector<float> back = Decode(tile);
      std::vector<uint8_t> again(tile.codes.size());
      codec_->EncodeRow(back.data(), tile.cols,
                        codec_->ScalesOfRow(tile, 0, false), again.data(),
                        again_sums);
      if (GetParam().type == NumberType::kInt || GetParam().is_cast()) {
        ASSERT_EQ(again, tile.codes) << row.name << " " << DTypeName(type);
      }
      ASSERT_EQ(again_sums.max_abs_error, 0.0f)
          << row.name << " " << DTypeName(type);
    }
  }
}

TEST_P(CodecConformance, NothingToCoverGivesScaleOne) {
  for (DType type : kSourceTypes) {
    for (float zero : {0.0f, -0.0f}) {
      const ScaleZero cell = codec_->FromRange(zero, zero, type);
      if (GetParam().has_tensor_scale()) {
        EXPECT_GT(cell.scale, 0.0f);
        continue;
      }
      EXPECT_EQ(cell.scale, 1.0f);
      EXPECT_EQ(cell.zero, 0);
    }
  }
}

TEST_P(CodecConformance, GridsAddUpOverTiles) {
  const int64_t multiple = codec_->row_multiple();
  for (int64_t rows : {1, 5, 128, 300}) {
    for (int64_t cols : {1, 24, 128, 300}) {
      if (GetParam().granularity == Granularity::kTensor) {
        EXPECT_EQ(codec_->grid_rows(rows), 1);
        continue;
      }
      int64_t sum = 0;
      for (int64_t row = 0; row < rows; row += multiple) {
        sum += codec_->grid_rows(std::min(multiple, rows - row));
      }
      EXPECT_EQ(sum, codec_->grid_rows(rows)) << rows;
      if (GetParam().is_cast()) continue;
      EXPECT_EQ(codec_->grid_cols(cols),
                (cols + codec_->group(cols) - 1) / codec_->group(cols));
    }
  }
}

TEST_P(CodecConformance, CastsCountWhatTheyLose) {
  const std::vector<float> x = {1e6f, -1e6f, 1e-30f, 0.0f, 1.0f, 3.4e38f};
  LaneSums sums;
  const CodeTile tile = Encode(x, DType::kF32, sums);
  if (!GetParam().is_cast()) {
    EXPECT_EQ(sums.overflow + sums.underflow, 0);
    return;
  }
  const std::vector<float> back = Decode(tile);
  int64_t overflow = 0, underflow = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    overflow += std::isinf(back[i]);
    underflow += back[i] == 0 && x[i] != 0;
  }
  EXPECT_EQ(sums.overflow, overflow);
  EXPECT_EQ(sums.underflow, underflow);
  EXPECT_EQ(back[4], 1.0f);
  if (GetParam().type == NumberType::kF16) {
    EXPECT_EQ(overflow, 3);
    EXPECT_EQ(underflow, 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, CodecConformance,
                         ::testing::ValuesIn(GridSchemes()),
                         [](const auto& info) {
                           return SchemeTestName(info.param);
                         });

}  // namespace
}  // namespace quant

// What every format promises, for every scheme it takes.
#include "core/artifact/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/method/method.h"
#include "tests/conformance/presets.h"

namespace quant {
namespace {

using Param = std::tuple<std::string, Scheme>;

TensorEntry Weight(int64_t out, int64_t in, DType dtype = DType::kBF16) {
  return {.name = "model.layers.0.mlp.down_proj.weight",
          .dtype = dtype,
          .shape = {out, in},
          .file = 0,
          .offset = 0,
          .bytes = out * in * DTypeBits(dtype) / 8};
}

class FormatConformance : public ::testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
    format_ = *FindFormat(std::get<0>(GetParam()));
    codec_ = *MakeCodec(scheme());
  }
  const Scheme& scheme() const { return std::get<1>(GetParam()); }

  // Shapes that the format takes with this scheme, ragged where it may be.
  std::vector<TensorEntry> Sources() const {
    std::vector<TensorEntry> sources;
    for (int64_t out : {1, 31, 32, 65, 128, 300, 544}) {
      for (int64_t in : {1, 7, 24, 96, 120, 128, 172, 256}) {
        if (in == FittingCols(scheme(), in) &&
            format_->ShapeMisfit(scheme(), {out, in}, true).empty()) {
          sources.push_back(Weight(out, in));
        }
      }
    }
    return sources;
  }

  int64_t Multiple() const {
    return std::lcm(format_->RowMultiple(*codec_), codec_->row_multiple());
  }

  // Random codes with all that belongs to them, for rows of a tile.
  CodeTile RandomTile(int64_t rows, int64_t cols, std::mt19937& random) const {
    std::vector<float> x(rows * cols);
    std::normal_distribution<float> normal;
    for (float& v : x) v = normal(random);
    const QuantMethod& method = **FindMethod("rtn");
    MethodScratch scratch;
    CodeTile tile;
    const TensorStats stats{.lo = -3, .hi = 4, .candidate_noise = {}};
    method.Quantize(*codec_, {.scale_type = format_->ScaleType(DType::kBF16)},
                    stats, x.data(), rows, cols, tile, scratch);
    return tile;
  }

  const ArtifactFormat* format_ = nullptr;
  std::unique_ptr<Codec> codec_;
};

TEST_P(FormatConformance, TakesSomeShapes) { EXPECT_FALSE(Sources().empty()); }

int64_t StoredBytes(const OutputTensor& output) {
  if (!output.block_type) return *TensorBytes(output.dtype, output.shape);
  const GgmlTypeInfo& info = InfoOf(*output.block_type);
  return *NumElements(output.shape) / info.block_elems * info.block_bytes;
}

TEST_P(FormatConformance, OutputBytesAreShapeTimesType) {
  for (const TensorEntry& source : Sources()) {
    const auto outputs = format_->Outputs(*codec_, source);
    ASSERT_FALSE(outputs.empty());
    std::vector<std::string> names;
    for (const OutputTensor& output : outputs) {
      EXPECT_EQ(output.bytes, StoredBytes(output)) << output.name;
      EXPECT_GT(output.bytes, 0) << output.name;
      names.push_back(output.name);
    }
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  }
}

// Every tiling fills every byte of every output once.
TEST_P(FormatConformance, TilesFillTheOutputsExactly) {
  const int64_t multiple = Multiple();
  for (const TensorEntry& source : Sources()) {
    const auto outputs = format_->Outputs(*codec_, source);
    for (int64_t tile_rows : {multiple, 2 * multiple, 5 * multiple}) {
      std::vector<std::vector<int>> filled;
      for (const OutputTensor& output : outputs) {
        filled.emplace_back(output.bytes, 0);
      }
      for (int64_t row = 0; row < source.shape[0]; row += tile_rows) {
        const int64_t rows = std::min(tile_rows, source.shape[0] - row);
        for (const ByteRange& range :
             format_->TileRanges(*codec_, source, row, rows)) {
          auto& bytes = filled[range.output];
          ASSERT_GE(range.offset, 0);
          ASSERT_LE(range.offset + range.bytes,
                    static_cast<int64_t>(bytes.size()))
              << outputs[range.output].name << " at row " << row;
          for (int64_t i = 0; i < range.bytes; ++i) ++bytes[range.offset + i];
        }
      }
      for (size_t i = 0; i < outputs.size(); ++i) {
        EXPECT_EQ(std::count(filled[i].begin(), filled[i].end(), 1),
                  outputs[i].bytes)
            << outputs[i].name;
      }
    }
  }
}

// What belongs to scales [first, first + count).
void AddScaleParts(const CodeTile& whole, int64_t first, int64_t count,
                   CodeTile& tile) {
  tile.tensor_scale = whole.tensor_scale;
  if (whole.scale_codes.empty()) return;
  tile.scale_codes.assign(whole.scale_codes.begin() + first,
                          whole.scale_codes.begin() + first + count);
  const auto nested = whole.nested_scales.begin() + first / kNestedScales;
  tile.nested_scales.assign(
      nested, nested + (count + kNestedScales - 1) / kNestedScales);
}

// The bytes of all outputs, packed tile by tile.
std::vector<std::vector<uint8_t>> PackAll(const ArtifactFormat& format,
                                          const Codec& codec,
                                          const TensorEntry& source,
                                          const CodeTile& whole,
                                          int64_t tile_rows) {
  std::vector<std::vector<uint8_t>> bytes;
  for (const OutputTensor& output : format.Outputs(codec, source)) {
    bytes.emplace_back(output.bytes, 0xAA);
  }
  PackedTile packed;  // reused from tile to tile
  const int64_t cols = whole.cols, row_bytes = codec.row_bytes(cols);
  for (int64_t row = 0; row < whole.rows; row += tile_rows) {
    const int64_t rows = std::min(tile_rows, whole.rows - row);
    CodeTile tile{.rows = rows, .cols = cols};
    tile.codes.assign(whole.codes.begin() + row * row_bytes,
                      whole.codes.begin() + (row + rows) * row_bytes);
    const bool per_tensor = codec.scheme().granularity == Granularity::kTensor;
    const int64_t first =
        per_tensor ? 0 : codec.grid_rows(row) * codec.grid_cols(cols);
    const int64_t count = codec.grid_rows(rows) * codec.grid_cols(cols);
    if (!whole.scales.empty()) {
      tile.scales.assign(whole.scales.begin() + first,
                         whole.scales.begin() + first + count);
    }
    if (!whole.zeros.empty()) {
      tile.zeros.assign(whole.zeros.begin() + first,
                        whole.zeros.begin() + first + count);
    }
    AddScaleParts(whole, first, count, tile);
    packed.ranges = format.TileRanges(codec, source, row, rows);
    format.Pack(codec, source, tile, packed);
    EXPECT_EQ(packed.data.size(), packed.ranges.size());
    for (size_t i = 0; i < packed.ranges.size(); ++i) {
      const ByteRange& range = packed.ranges[i];
      EXPECT_EQ(static_cast<int64_t>(packed.data[i].size()), range.bytes);
      std::copy(packed.data[i].begin(), packed.data[i].end(),
                bytes[range.output].begin() + range.offset);
    }
  }
  return bytes;
}

TEST_P(FormatConformance, PackingTilesEqualsPackingTheWhole) {
  std::mt19937 random(5);
  for (const TensorEntry& source : Sources()) {
    const CodeTile whole = RandomTile(source.shape[0], source.shape[1], random);
    const int64_t multiple = Multiple();
    const int64_t all = (source.shape[0] + multiple - 1) / multiple * multiple;
    const auto at_once = PackAll(*format_, *codec_, source, whole, all);
    const auto tiled = PackAll(*format_, *codec_, source, whole, multiple);
    EXPECT_EQ(at_once, tiled) << ShapeToString(source.shape);
  }
}

// Fixed bytes are those that tiles give, and are there for every output in
// front of the weights: else a file could not be hashed before its last tensor.
TEST_P(FormatConformance, FixedBytesAreThoseOfTheTiles) {
  std::mt19937 random(8);
  for (const TensorEntry& source : Sources()) {
    const CodeTile whole = RandomTile(source.shape[0], source.shape[1], random);
    const auto bytes =
        PackAll(*format_, *codec_, source, whole, source.shape[0]);
    const auto outputs = format_->Outputs(*codec_, source);
    for (size_t i = 0; i < outputs.size(); ++i) {
      const auto fixed =
          format_->FixedBytes(*codec_, source, static_cast<int>(i));
      if (!fixed.empty()) {
        EXPECT_EQ(fixed, bytes[i]) << outputs[i].name;
      } else {
        EXPECT_NE(outputs[i].dtype, DType::kI64) << outputs[i].name;
      }
    }
  }
}

TEST_P(FormatConformance, UnpackIsTheInverseOfPack) {
  std::mt19937 random(6);
  for (const TensorEntry& source : Sources()) {
    const CodeTile whole = RandomTile(source.shape[0], source.shape[1], random);
    const auto bytes =
        PackAll(*format_, *codec_, source, whole, source.shape[0]);
    std::vector<absl::Span<const uint8_t>> spans(bytes.begin(), bytes.end());
    CodeTile back;
    const absl::Status status = format_->Unpack(*codec_, source, spans, back);
    if (!status.ok()) {
      // A format without codes says so.
      EXPECT_EQ(std::get<0>(GetParam()), "dequantized") << status;
      continue;
    }
    EXPECT_EQ(back.codes, whole.codes) << ShapeToString(source.shape);
    if (scheme().is_cast()) continue;
    EXPECT_EQ(back.scales, whole.scales) << ShapeToString(source.shape);
    EXPECT_EQ(back.zeros, whole.zeros) << ShapeToString(source.shape);
    EXPECT_EQ(back.scale_codes, whole.scale_codes);
    EXPECT_EQ(back.nested_scales, whole.nested_scales);
    EXPECT_EQ(back.tensor_scale, whole.tensor_scale);
    EXPECT_TRUE(back.column_groups.empty());
    EXPECT_EQ(back.rows, whole.rows);
    EXPECT_EQ(back.cols, whole.cols);
  }
}

// Config: what was there stays, in its order; a name in UTF-8 survives.
TEST_P(FormatConformance, ConfigKeepsTheSource) {
  const TensorEntry source = Weight(256, 256);
  const std::vector<QuantizedModule> modules = {{.role = RoleOf(source),
                                                 .source = &source,
                                                 .quantized = true,
                                                 .scheme = scheme()}};
  const auto config = format_->Config(
      R"({"zeta": 1, "alpha": {"b": [1, 2.5, null]}, "name": "größe"})",
      modules);
  ASSERT_TRUE(config.ok()) << config.status();
  if (!format_->CarriesSideFiles()) {
    EXPECT_EQ(*config, "");
    return;
  }
  const auto json = nlohmann::ordered_json::parse(*config, nullptr, false);
  ASSERT_TRUE(json.is_object()) << *config;
  EXPECT_EQ(json.begin().key(), "zeta");
  EXPECT_EQ(json["alpha"]["b"][1], 2.5);
  EXPECT_EQ(json["name"], "größe");
  EXPECT_EQ(config->back(), '\n');
}

std::vector<Param> AllParams() {
  std::vector<Param> params;
  for (const FormatInfo& info : Formats()) {
    const ArtifactFormat& format = **FindFormat(info.name);
    for (const Scheme& scheme : AllSchemes()) {
      if (format.CheckScheme(scheme).ok()) {
        params.emplace_back(info.name, scheme);
      }
    }
  }
  return params;
}

INSTANTIATE_TEST_SUITE_P(Formats, FormatConformance,
                         ::testing::ValuesIn(AllParams()),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return absl::StrCat(
                               name, "_",
                               SchemeTestName(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace quant

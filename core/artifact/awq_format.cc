// AutoAWQ's files, version "gemm".
//
// Per quantized module <m>, weight [O, I], 4 bits, G groups:
//   <m>.qweight  I32 [I, O/8]  packed along the outputs: nibble i of word c is
//                              output 8 c + {0, 2, 4, 6, 1, 3, 5, 7}[i]
//   <m>.qzeros   I32 [G, O/8]  the same
//   <m>.scales   F16 [G, O]
// u = q + 8; w = s (u - u_z); symmetric integers have u_z = 8. Source:
// AutoAWQ's modules/linear/gemm.py and utils/packing_utils.py.
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/artifact/config_json.h"
#include "core/artifact/format.h"
#include "core/artifact/module_lists.h"
#include "core/artifact/output_bytes.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/kernels/pack.h"
#include "core/kernels/transpose.h"

namespace quant {
namespace {

enum Output { kWeight = 0, kZeros = 1, kScales = 2, kOutputs = 3 };

constexpr int kBits = 4;
constexpr RowOrder kOrder = {0, 2, 4, 6, 1, 3, 5, 7};
// Runs of an output's line are then at least 256 bytes of codes.
constexpr int64_t kTileRows = 512;

class Awq final : public ArtifactFormat {
 public:
  absl::Status CheckScheme(const Scheme& scheme) const override {
    const bool groups = scheme.granularity == Granularity::kGroup ||
                        scheme.granularity == Granularity::kChannel;
    if (scheme.type == NumberType::kInt && scheme.bits == kBits && groups &&
        scheme.scales == ScaleKind::kFloat && !scheme.act_order &&
        scheme.activations == Activations::kNone) {
      return absl::OkStatus();
    }
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("format \"awq\" can't carry scheme \"", scheme.name,
                     "\" (", DescribeScheme(scheme),
                     "): it holds 4-bit integers with scales per channel or "
                     "per group of consecutive columns; the nearest is "
                     "W4A16_ASYM"));
  }

  std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                          bool last_of_fused) const override {
    const int64_t out = shape[0], in = shape[1];
    if (out % 8 != 0) {
      return absl::StrCat(out, " % 8 != 0: words are packed along the outputs");
    }
    if (scheme.granularity == Granularity::kGroup &&
        in % scheme.group_size != 0) {
      return absl::StrCat(in, " % ", scheme.group_size,
                          " != 0: the group size must divide the inputs");
    }
    return "";
  }

  bool TakesClass(ModuleClass module_class) const override {
    return module_class == ModuleClass::kLinear;
  }

  bool TakesCodes() const override { return true; }

  DType ScaleType(DType source) const override { return DType::kF16; }

  std::vector<OutputTensor> Outputs(const Codec& codec,
                                    const TensorEntry& source) const override {
    const std::string module = ModuleOf(source);
    const int64_t out = source.shape[0], in = source.shape[1];
    const int64_t groups = codec.grid_cols(in);
    return {MakeOutput(module + ".qweight", DType::kI32, {in, out / 8}),
            MakeOutput(module + ".qzeros", DType::kI32, {groups, out / 8}),
            MakeOutput(module + ".scales", DType::kF16, {groups, out})};
  }

  int64_t RowMultiple(const Codec& codec) const override { return kTileRows; }
  int64_t ReadMultiple(const Codec& codec) const override { return 8; }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const int64_t out = source.shape[0], in = source.shape[1];
    const int64_t groups = codec.grid_cols(in);
    std::vector<ByteRange> ranges;
    AddPieces({kWeight, in, out / 2, row / 2, rows / 2}, ranges);
    AddPieces({kZeros, groups, out / 2, row / 2, rows / 2}, ranges);
    AddPieces({kScales, groups, 2 * out, 2 * row, 2 * rows}, ranges);
    return ranges;
  }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    const int64_t groups = codec.grid_cols(tile.cols);
    PieceWriter pieces(kOutputs, out);
    PackLines(reinterpret_cast<const int8_t*>(tile.codes.data()), tile.rows,
              tile.cols, pieces.Buffer(kWeight));
    std::vector<int8_t> zeros = tile.zeros;
    zeros.resize(tile.rows * groups);  // all 0 when symmetric
    PackLines(zeros.data(), tile.rows, groups, pieces.Buffer(kZeros));
    uint8_t* scales = pieces.Buffer(kScales);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < tile.rows; ++r, scales += 2) {
        StoreFloat(tile.scales[r * groups + g], DType::kF16, scales);
      }
    }
    pieces.Finish();
  }

  absl::Status UnpackTile(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    out.codes.resize(out.rows * out.cols);
    UnpackLines(JoinPieces(tile, kWeight), out.rows, out.cols,
                reinterpret_cast<int8_t*>(out.codes.data()));
    return UnpackGrid(codec, source, tile, out);
  }

  absl::Status UnpackGrid(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    const int64_t groups = codec.grid_cols(out.cols);
    out.zeros.resize(out.rows * groups);
    UnpackLines(JoinPieces(tile, kZeros), out.rows, groups, out.zeros.data());
    if (!codec.has_zeros()) out.zeros.clear();
    const std::vector<float> scales =
        LoadFloats(JoinPieces(tile, kScales), DType::kF16);
    out.scales.resize(scales.size());
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < out.rows; ++r) {
        out.scales[r * groups + g] = scales[g * out.rows + r];
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    QUANT_ASSIGN_OR_RETURN(OrderedJson config,
                           ParseConfigObject(source_config));
    QUANT_ASSIGN_OR_RETURN(const Scheme scheme, OnlyScheme(modules, "awq"));
    const std::vector<std::string> kept = KeptLinears(modules);
    QUANT_RETURN_IF_ERROR(CheckSubstrings(kept, modules));
    OrderedJson settings;
    settings["quant_method"] = "awq";
    settings["bits"] = kBits;
    settings["group_size"] =
        scheme.granularity == Granularity::kGroup ? scheme.group_size : -1;
    settings["zero_point"] = true;
    settings["version"] = "gemm";
    settings["modules_to_not_convert"] = kept;
    config["quantization_config"] = std::move(settings);
    return DumpConfig(config);
  }

 private:
  // codes [rows, lines] -> words [lines, rows / 8].
  static void PackLines(const int8_t* codes, int64_t rows, int64_t lines,
                        uint8_t* out) {
    std::vector<int8_t> across(rows * lines);
    TransposeBytes(codes, rows, lines, kOrder, across.data());
    PackRows(across.data(), lines, rows, kBits, out);
  }

  static void UnpackLines(const std::vector<uint8_t>& words, int64_t rows,
                          int64_t lines, int8_t* codes) {
    std::vector<int8_t> across(rows * lines);
    UnpackRows(words.data(), lines, rows, kBits, across.data());
    UntransposeBytes(across.data(), rows, lines, kOrder, codes);
  }

  // Loaders leave out modules whose names contain one of the list.
  static absl::Status CheckSubstrings(
      const std::vector<std::string>& kept,
      const std::vector<QuantizedModule>& modules) {
    for (const QuantizedModule& module : modules) {
      if (!module.quantized) continue;
      for (const std::string& name : kept) {
        if (!absl::StrContains(module.role.module, name)) continue;
        return MakeError(
            absl::StatusCode::kFailedPrecondition, Reason::kPlanRefused,
            absl::StrCat("format \"awq\": loaders would leave out ",
                         module.role.module, ", because its name contains ",
                         name,
                         ", which is not quantized; the nearest format "
                         "without that is \"compressed-tensors\""));
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace

const ArtifactFormat& AwqFormat() {
  static const Awq format;
  return format;
}

}  // namespace quant

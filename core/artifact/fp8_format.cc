// FP8 as model makers publish it (quant_method "fp8").
//
// Per quantized module <m>, weight [O, I]:
//   <m>.weight            F8_E4M3 [O, I]
//   <m>.weight_scale_inv  F32 [ceil(O/128), ceil(I/128)]; or
//   <m>.weight_scale      F32 [1], with one scale per tensor
//   <m>.input_scale       F32 [1], with static activations
// Despite its name weight_scale_inv multiplies: w = code * scale. Source: the
// loaders of vLLM (quantization/fp8.py) and transformers (finegrained FP8).
//
// Loaders keep one scale per merged module, and re-encode parts that differ:
// the scale per tensor is that of all parts.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/artifact/config_json.h"
#include "core/artifact/format.h"
#include "core/artifact/module_lists.h"
#include "core/artifact/output_bytes.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

enum Output { kWeight = 0, kScale = 1, kInputScale = 2 };

constexpr int64_t kBlock = 128;

bool IsBlocks(const Scheme& scheme) {
  return scheme.granularity == Granularity::kBlock;
}

class Fp8 final : public ArtifactFormat {
 public:
  absl::Status CheckScheme(const Scheme& scheme) const override {
    const bool blocks = IsBlocks(scheme) && scheme.block_rows == kBlock &&
                        scheme.block_cols == kBlock;
    if (scheme.type == NumberType::kF8E4M3 &&
        scheme.activations != Activations::kNone &&
        (blocks || scheme.granularity == Granularity::kTensor)) {
      return absl::OkStatus();
    }
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat(
            "format \"fp8\" can't carry scheme \"", scheme.name, "\" (",
            DescribeScheme(scheme),
            "): it holds FP8 E4M3 with scales per 128x128 block or per "
            "tensor, and quantized activations; the nearest are FP8_BLOCK, "
            "FP8, and FP8_DYNAMIC with group size tensor"));
  }

  std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                          bool last_of_fused) const override {
    if (!IsBlocks(scheme)) return "";
    const int64_t out = shape[0], in = shape[1];
    if (in % kBlock != 0) {
      return absl::StrCat(in, " % 128 != 0: blocks must divide the inputs");
    }
    if (out % kBlock != 0 && !last_of_fused) {
      return absl::StrCat(out,
                          " % 128 != 0: blocks must divide the outputs of all "
                          "but the last part of a merged module");
    }
    return "";
  }

  bool TakesClass(ModuleClass module_class) const override {
    return module_class == ModuleClass::kLinear;
  }

  bool SharesTensorScale(const Scheme& scheme) const override {
    return scheme.granularity == Granularity::kTensor;
  }

  DType ScaleType(DType source) const override { return DType::kF32; }

  std::vector<OutputTensor> Outputs(const Codec& codec,
                                    const TensorEntry& source) const override {
    const std::string module = ModuleOf(source);
    const bool blocks = IsBlocks(codec.scheme());
    const Shape scales = {codec.grid_rows(source.shape[0]),
                          codec.grid_cols(source.shape[1])};
    std::vector<OutputTensor> outputs = {
        MakeOutput(module + ".weight", DType::kF8E4M3, source.shape),
        MakeOutput(module + (blocks ? ".weight_scale_inv" : ".weight_scale"),
                   DType::kF32, blocks ? scales : Shape{1})};
    if (IsStatic(codec.scheme().activations)) {
      outputs.push_back(MakeOutput(module + ".input_scale", DType::kF32, {1}));
    }
    return outputs;
  }

  int64_t RowMultiple(const Codec& codec) const override {
    return codec.row_multiple();
  }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const int64_t in = source.shape[1];
    std::vector<ByteRange> ranges = {{kWeight, row * in, rows * in}};
    const int64_t line = 4 * codec.grid_cols(in);
    if (IsBlocks(codec.scheme())) {
      ranges.push_back(
          {kScale, codec.grid_rows(row) * line, codec.grid_rows(rows) * line});
    } else if (row == 0) {
      ranges.push_back({kScale, 0, 4});
    }
    if (IsStatic(codec.scheme().activations) && row == 0) {
      ranges.push_back({kInputScale, 0, 4});
    }
    return ranges;
  }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    out.scratch.resize(2);
    out.scratch[0].resize(4 * tile.scales.size());
    StoreFloats(DType::kF32, tile.scales, out.scratch[0].data());
    out.scratch[1].resize(4);
    StoreFloat(tile.input_scale, DType::kF32, out.scratch[1].data());
    out.data = {absl::MakeConstSpan(tile.codes),
                absl::MakeConstSpan(out.scratch[0]),
                absl::MakeConstSpan(out.scratch[1])};
    out.data.resize(out.ranges.size());
  }

  absl::Status UnpackTile(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    out.codes = JoinPieces(tile, kWeight);
    out.scales = LoadFloats(JoinPieces(tile, kScale), DType::kF32);
    out.zeros.clear();
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    QUANT_ASSIGN_OR_RETURN(OrderedJson config,
                           ParseConfigObject(source_config));
    QUANT_ASSIGN_OR_RETURN(const Scheme scheme, OnlyScheme(modules, "fp8"));
    OrderedJson settings;
    settings["quant_method"] = "fp8";
    settings["activation_scheme"] =
        IsStatic(scheme.activations) ? "static" : "dynamic";
    if (IsBlocks(scheme)) {
      settings["fmt"] = "e4m3";
      settings["weight_block_size"] = {kBlock, kBlock};
      settings["modules_to_not_convert"] = KeptLinears(modules);
    } else {
      settings["ignored_layers"] = KeptLinears(modules);
    }
    config["quantization_config"] = std::move(settings);
    return DumpConfig(config);
  }
};

}  // namespace

const ArtifactFormat& Fp8Format() {
  static const Fp8 format;
  return format;
}

}  // namespace quant

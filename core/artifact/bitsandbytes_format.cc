// What bitsandbytes saves: NF4 and FP4, with and without double quantization,
// and LLM.int8().
//
// Per quantized module <m>, weight [O, I], blocks of B = 64 (or 32..4096), N of
// them, of the row-major weight:
//   <m>.weight            U8 [O*I/2, 1]  first code in the high nibble
//   <m>.weight.absmax     F32 [N]; U8 [N] with double quantization
//   <m>.weight.quant_map  F32 [16]       the numbers of the codes
//   <m>.weight.nested_absmax     F32 [ceil(N/256)]   } with double
//   <m>.weight.nested_quant_map  F32 [256]           } quantization
//   <m>.weight.quant_state.bitsandbytes__nf4 (__fp4)  U8: a JSON object
// LLM.int8():
//   <m>.weight I8 [O, I]; <m>.SCB F32 [O] = max|row|; <m>.weight_format U8 [] =
//   0 w = q * SCB / 127
// Source: bitsandbytes, functional.py (QuantState) and nn/modules.py. Blocks
// are kept within rows here: I % B == 0. The JSON text is padded with spaces to
// a length that is known before its numbers are.
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/artifact/config_json.h"
#include "core/artifact/format.h"
#include "core/artifact/module_lists.h"
#include "core/artifact/output_bytes.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/codec/nested_scales.h"
#include "core/kernels/nibbles.h"
#include "core/kernels/table_codes.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

// Order of the outputs of one module.
enum Output {
  kWeight = 0,
  kAbsmax = 1,
  kScb = 1,
  kMap = 2,
  kWeightFormat = 2,
  kState = 3,
  kNestedAbsmax = 4,
  kNestedMap = 5,
  kOutputs = 6
};

bool IsInt8(const Scheme& scheme) {
  return scheme.scales == ScaleKind::kRowMax127;
}
bool IsNested(const Scheme& scheme) {
  return scheme.scales == ScaleKind::kNested;
}
const char* TypeName(const Scheme& scheme) {
  return scheme.type == NumberType::kNF4 ? "nf4" : "fp4";
}
const CodeTable& Table(const Scheme& scheme) {
  return TableOf(scheme.type == NumberType::kNF4 ? TableKind::kNF4
                                                 : TableKind::kBnbFp4);
}

absl::string_view TorchName(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    default:
      return "float32";
  }
}

// Keys in the order in which the library writes them.
std::string StateJson(const Scheme& scheme, const TensorEntry& source,
                      float offset) {
  std::string json = absl::StrFormat(
      "{\"quant_type\": \"%s\", \"blocksize\": %d, \"dtype\": \"%s\", "
      "\"shape\": [%d, %d]",
      TypeName(scheme), scheme.group_size, TorchName(source.dtype),
      source.shape[0], source.shape[1]);
  if (IsNested(scheme)) {
    // 17 digits: the double that equals the float.
    absl::StrAppend(
        &json, absl::StrFormat(", \"nested_blocksize\": %d, \"nested_dtype\": "
                               "\"float32\", \"nested_offset\": %.17g",
                               kNestedScales, static_cast<double>(offset)));
  }
  return json + "}";
}

// Long enough for any offset.
int64_t StateBytes(const Scheme& scheme, const TensorEntry& source) {
  const int64_t shortest =
      static_cast<int64_t>(StateJson(scheme, source, 0).size());
  return IsNested(scheme) ? RoundUp(shortest + 24, 8) : shortest;
}

// The stored maximum whose 127th part is the scale, in F32.
float RowMaxOf(float scale) {
  const float nearest = scale * 127;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (float candidate : {nearest, std::nextafter(nearest, 0.0f),
                          std::nextafter(nearest, kInfinity)}) {
    if (candidate / 127 == scale) return candidate;
  }
  return nearest;
}

class BitsAndBytes final : public ArtifactFormat {
 public:
  absl::Status CheckScheme(const Scheme& scheme) const override {
    const bool four =
        scheme.type == NumberType::kNF4 || scheme.type == NumberType::kBnbFp4;
    if (!four && !IsInt8(scheme)) {
      return Refuse(scheme,
                    "it holds NF4, FP4 and LLM_INT8; the nearest is NF4");
    }
    const int64_t block = scheme.group_size;
    if (four && (block < 32 || block > 4096 || (block & (block - 1)) != 0)) {
      return Refuse(scheme,
                    "blocks are powers of two from 32 to 4096; the nearest is "
                    "group size 64");
    }
    return absl::OkStatus();
  }

  std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                          bool last_of_fused) const override {
    if (IsInt8(scheme) || shape[1] % scheme.group_size == 0) return "";
    return absl::StrCat(shape[1], " % ", scheme.group_size,
                        " != 0: blocks must divide the inputs");
  }

  bool TakesClass(ModuleClass module_class) const override {
    return module_class == ModuleClass::kLinear;
  }

  DType ScaleType(DType source) const override { return DType::kF32; }

  std::vector<OutputTensor> Outputs(const Codec& codec,
                                    const TensorEntry& source) const override {
    const Scheme& scheme = codec.scheme();
    const std::string module = ModuleOf(source);
    const int64_t out = source.shape[0], in = source.shape[1];
    const std::string weight = module + ".weight";
    if (IsInt8(scheme)) {
      return {MakeOutput(weight, DType::kI8, source.shape),
              MakeOutput(module + ".SCB", DType::kF32, {out}),
              MakeOutput(module + ".weight_format", DType::kU8, {})};
    }
    const int64_t blocks = out * codec.grid_cols(in);
    const bool nested = IsNested(scheme);
    std::vector<OutputTensor> outputs = {
        MakeOutput(weight, DType::kU8, {CeilDiv(out * in, 2), 1}),
        MakeOutput(weight + ".absmax", nested ? DType::kU8 : DType::kF32,
                   {blocks}),
        MakeOutput(weight + ".quant_map", DType::kF32, {16}),
        MakeOutput(absl::StrCat(weight, ".quant_state.bitsandbytes__",
                                TypeName(scheme)),
                   DType::kU8, {StateBytes(scheme, source)})};
    if (nested) {
      outputs.push_back(MakeOutput(weight + ".nested_absmax", DType::kF32,
                                   {CeilDiv(blocks, kNestedScales)}));
      outputs.push_back(
          MakeOutput(weight + ".nested_quant_map", DType::kF32, {256}));
    }
    return outputs;
  }

  int64_t RowMultiple(const Codec& codec) const override {
    return codec.row_multiple();
  }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const Scheme& scheme = codec.scheme();
    const int64_t in = source.shape[1];
    if (IsInt8(scheme)) {
      std::vector<ByteRange> ranges = {{kWeight, row * in, rows * in},
                                       {kScb, row * 4, rows * 4}};
      if (row == 0) ranges.push_back({kWeightFormat, 0, 1});
      return ranges;
    }
    const int64_t groups = codec.grid_cols(in);
    const int64_t size = IsNested(scheme) ? 1 : 4;
    std::vector<ByteRange> ranges = {
        {kWeight, row * in / 2, rows * in / 2},
        {kAbsmax, row * groups * size, rows * groups * size}};
    if (IsNested(scheme)) {
      // Tiles begin at multiples of 256 rows.
      ranges.push_back({kNestedAbsmax, row * groups / kNestedScales * 4,
                        CeilDiv(rows * groups, kNestedScales) * 4});
    }
    if (row > 0) return ranges;
    ranges.push_back({kMap, 0, 16 * 4});
    ranges.push_back({kState, 0, StateBytes(scheme, source)});
    if (IsNested(scheme)) ranges.push_back({kNestedMap, 0, 256 * 4});
    return ranges;
  }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    const Scheme& scheme = codec.scheme();
    PieceWriter pieces(kOutputs, out);
    if (IsInt8(scheme)) {
      PackInt8(tile, pieces);
      return;
    }
    PackPairs(tile.codes.data(), tile.rows * tile.cols, NibbleOrder::kHighFirst,
              pieces.Buffer(kWeight));
    if (!IsNested(scheme)) {
      StoreFloats(DType::kF32, tile.scales, pieces.Buffer(kAbsmax));
    } else {
      std::memcpy(pieces.Buffer(kAbsmax), tile.scale_codes.data(),
                  tile.scale_codes.size());
      StoreFloats(DType::kF32, tile.nested_scales,
                  pieces.Buffer(kNestedAbsmax));
    }
    if (pieces.Has(kMap)) {
      StoreFloats(DType::kF32, Table(scheme).values, pieces.Buffer(kMap));
    }
    if (pieces.Has(kState)) {
      std::string json = StateJson(scheme, source, tile.tensor_scale);
      json.resize(StateBytes(scheme, source), ' ');
      std::memcpy(pieces.Buffer(kState), json.data(), json.size());
    }
    if (pieces.Has(kNestedMap)) {
      StoreFloats(DType::kF32, NestedMap(), pieces.Buffer(kNestedMap));
    }
    pieces.Finish();
  }

  absl::Status UnpackTile(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    const Scheme& scheme = codec.scheme();
    out.zeros.clear();
    if (IsInt8(scheme)) {
      out.codes = JoinPieces(tile, kWeight);
      out.scales = LoadFloats(JoinPieces(tile, kScb), DType::kF32);
      for (float& scale : out.scales) scale /= 127;
      return absl::OkStatus();
    }
    out.codes.resize(out.rows * out.cols);
    UnpackPairs(JoinPieces(tile, kWeight).data(), out.rows * out.cols,
                NibbleOrder::kHighFirst, out.codes.data());
    QUANT_RETURN_IF_ERROR(CheckMap(tile, kMap, Table(scheme).values, source));
    if (!IsNested(scheme)) {
      out.scales = LoadFloats(JoinPieces(tile, kAbsmax), DType::kF32);
      return absl::OkStatus();
    }
    QUANT_RETURN_IF_ERROR(CheckMap(tile, kNestedMap, NestedMap(), source));
    QUANT_ASSIGN_OR_RETURN(out.tensor_scale,
                           OffsetOf(JoinPieces(tile, kState), source));
    out.scale_codes = JoinPieces(tile, kAbsmax);
    out.nested_scales =
        LoadFloats(JoinPieces(tile, kNestedAbsmax), DType::kF32);
    out.scales.resize(out.scale_codes.size());
    for (size_t i = 0; i < out.scales.size(); ++i) {
      out.scales[i] =
          NestedScale(out.scale_codes[i], out.nested_scales[i / kNestedScales],
                      out.tensor_scale);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    QUANT_ASSIGN_OR_RETURN(OrderedJson config,
                           ParseConfigObject(source_config));
    QUANT_ASSIGN_OR_RETURN(const Scheme scheme,
                           OnlyScheme(modules, "bitsandbytes"));
    const bool four = !IsInt8(scheme);
    OrderedJson settings;
    settings["quant_method"] = "bitsandbytes";
    settings["_load_in_4bit"] = four;
    settings["_load_in_8bit"] = !four;
    settings["load_in_4bit"] = four;
    settings["load_in_8bit"] = !four;
    settings["bnb_4bit_compute_dtype"] = ComputeType(modules);
    settings["bnb_4bit_quant_storage"] = "uint8";
    settings["bnb_4bit_quant_type"] = four ? TypeName(scheme) : "fp4";
    settings["bnb_4bit_use_double_quant"] = IsNested(scheme);
    settings["llm_int8_enable_fp32_cpu_offload"] = false;
    settings["llm_int8_has_fp16_weight"] = false;
    settings["llm_int8_skip_modules"] = KeptLinears(modules);
    settings["llm_int8_threshold"] = 6.0;
    config["quantization_config"] = std::move(settings);
    return DumpConfig(config);
  }

 private:
  static absl::Status Refuse(const Scheme& scheme, absl::string_view why) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("format \"bitsandbytes\" can't carry scheme \"",
                     scheme.name, "\" (", DescribeScheme(scheme), "): ", why));
  }

  static std::string ComputeType(const std::vector<QuantizedModule>& modules) {
    for (const QuantizedModule& module : modules) {
      if (module.quantized) return std::string(TorchName(module.source->dtype));
    }
    return "float32";
  }

  static void PackInt8(const CodeTile& tile, PieceWriter& pieces) {
    std::memcpy(pieces.Buffer(kWeight), tile.codes.data(), tile.codes.size());
    std::vector<float> rows = tile.scales;
    for (float& value : rows) value = RowMaxOf(value);
    StoreFloats(DType::kF32, rows, pieces.Buffer(kScb));
    if (pieces.Has(kWeightFormat)) *pieces.Buffer(kWeightFormat) = 0;
    pieces.Finish();
  }

  // Codes mean what we think they mean.
  static absl::Status CheckMap(const PackedTile& tile, int output,
                               absl::Span<const float> expected,
                               const TensorEntry& source) {
    const std::vector<float> map =
        LoadFloats(JoinPieces(tile, output), DType::kF32);
    for (size_t i = 0; i < map.size(); ++i) {
      // Writers' maps differ in the last digits.
      if (std::fabs(map[i] - expected[i]) <= 1e-6f) continue;
      return ModelMalformed(absl::StrCat(
          source.name, output == kMap ? ".quant_map" : ".nested_quant_map",
          ": element ", i, " is ", map[i], "; ", expected[i], " is expected"));
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<float> OffsetOf(const std::vector<uint8_t>& bytes,
                                        const TensorEntry& source) {
    const auto json = nlohmann::json::parse(bytes, nullptr, false);
    if (json.is_object() && json.contains("nested_offset") &&
        json["nested_offset"].is_number()) {
      return json["nested_offset"].get<float>();
    }
    return ModelMalformed(
        absl::StrCat(source.name, ".quant_state: holds no nested_offset"));
  }
};

}  // namespace

const ArtifactFormat& BitsAndBytesFormat() {
  static const BitsAndBytes format;
  return format;
}

}  // namespace quant

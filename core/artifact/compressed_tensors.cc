// The compressed-tensors format: pack-, int-, float- and naive-quantized, and
// FP4 and FP8 with small scales.
//
// Per quantized module <m>, weight [O, I], b bits, G scales per row:
//   pack-quantized    <m>.weight_packed      I32 [O, ceil(I*b/32)]
//                     <m>.weight_scale       [grid rows, G], type of the source
//                     <m>.weight_shape       I64 [2] = (O, I)
//                     <m>.weight_zero_point  if asymmetric:
//                       I32 [ceil(rows*b/32), G]; I8 [1] for one per tensor
//                     <m>.weight_g_idx       if in act-order: I32 [I],
//                       the group of each column; with a -1: consecutive ones
//   int-, float-, naive-quantized
//                     <m>.weight             I8 or F8_E4M3 [O, I]
//                     <m>.weight_scale       as above; [1] for one per tensor
//   nvfp4-pack-quantized
//                     <m>.weight_packed       U8 [O, I/2], low nibble first
//                     <m>.weight_scale        F8_E4M3 [O, I/16]
//                     <m>.weight_global_scale F32 [1], the divisor of all
//                     scales
//   mxfp4-pack-quantized
//                     <m>.weight_packed       U8 [O, I/2], low nibble first
//                     <m>.weight_scale        U8 [O, I/32]: exponent + 127
//   mxfp8-quantized   <m>.weight              F8_E4M3 [O, I]
//                     <m>.weight_scale        U8 [O, I/32]: exponent + 127
// Source: the format's reference implementation, version 0.18 (dense packing of
// 3, 5, 6 and 7 bits since 0.17; files of before are read, too).
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/artifact/column_groups.h"
#include "core/artifact/ct_config.h"
#include "core/artifact/format.h"
#include "core/artifact/output_bytes.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/kernels/nibbles.h"
#include "core/kernels/pack.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

// Order of the outputs of one module.
enum Output {
  kWeight = 0,
  kScale = 1,
  kShape = 2,        // of packed integers
  kGlobalScale = 2,  // of NVFP4
  kInputScale = 2,   // of static activations
  kZeroPoint = 3,
  kOutputs = 5  // at most; the groups of columns come last
};

DType ScaleTypeOf(DType source) {
  return source == DType::kF64 ? DType::kF32 : source;
}

DType StoredScale(const Scheme& scheme, DType source) {
  switch (scheme.scales) {
    case ScaleKind::kE4M3:
      return DType::kF8E4M3;
    case ScaleKind::kE8M0:
      return DType::kU8;
    default:
      return ScaleTypeOf(source);
  }
}

bool IsPacked(const Codec& codec) {
  return CtFormatOf(codec.scheme()) == kPackQuantized;
}

Shape ScaleShape(const Codec& codec, const Shape& shape) {
  if (codec.scheme().granularity == Granularity::kTensor) return {1};
  return {codec.grid_rows(shape[0]), codec.grid_cols(shape[1])};
}

// Which output the groups of columns are, where there are any.
int IndexOutput(const Codec& codec) {
  if (!IsPacked(codec)) return kShape;
  return codec.has_zeros() ? kZeroPoint + 1 : kZeroPoint;
}

class CompressedTensors final : public ArtifactFormat {
 public:
  // `loose`: as before version 0.17, only to be read.
  explicit CompressedTensors(bool loose) : loose_(loose) {}

  absl::Status CheckScheme(const Scheme& scheme) const override {
    return CheckCtScheme(scheme);
  }

  std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                          bool last_of_fused) const override {
    const int64_t out = shape[0], in = shape[1];
    if (scheme.granularity == Granularity::kGroup &&
        in % scheme.group_size != 0) {
      return absl::StrCat(in, " % ", scheme.group_size,
                          " != 0: the group size must divide the inputs");
    }
    if (scheme.granularity != Granularity::kBlock) return "";
    if (in % scheme.block_cols != 0) {
      return absl::StrCat(in, " % ", scheme.block_cols,
                          " != 0: blocks must divide the inputs");
    }
    if (out % scheme.block_rows != 0 && !last_of_fused) {
      return absl::StrCat(out, " % ", scheme.block_rows,
                          " != 0: blocks must divide the outputs of all but "
                          "the last part of a merged module");
    }
    return "";
  }

  bool TakesClass(ModuleClass module_class) const override {
    return module_class == ModuleClass::kLinear ||
           module_class == ModuleClass::kLmHead ||
           module_class == ModuleClass::kRouter;
  }

  DType ScaleType(DType source) const override { return ScaleTypeOf(source); }

  std::vector<OutputTensor> Outputs(const Codec& codec,
                                    const TensorEntry& source) const override {
    const Scheme& scheme = codec.scheme();
    const std::string module = ModuleOf(source);
    const int64_t out = source.shape[0], in = source.shape[1];
    const Shape scale_shape = ScaleShape(codec, source.shape);
    const std::string scale = absl::StrCat(module, ".weight_scale");
    if (scheme.is_table()) {
      std::vector<OutputTensor> outputs = {
          MakeOutput(absl::StrCat(module, ".weight_packed"), DType::kU8,
                     {out, in / 2}),
          MakeOutput(scale, StoredScale(scheme, source.dtype), scale_shape)};
      if (scheme.scales == ScaleKind::kE4M3) {
        outputs.push_back(MakeOutput(
            absl::StrCat(module, ".weight_global_scale"), DType::kF32, {1}));
      }
      return outputs;
    }
    std::vector<OutputTensor> outputs(2);
    outputs[kScale] =
        MakeOutput(scale, StoredScale(scheme, source.dtype), scale_shape);
    if (!IsPacked(codec)) {
      const bool integer = scheme.type == NumberType::kInt;
      outputs[kWeight] =
          MakeOutput(absl::StrCat(module, ".weight"),
                     integer ? DType::kI8 : DType::kF8E4M3, source.shape);
      if (scheme.act_order) outputs.push_back(Index(module, in));
      if (IsStatic(scheme.activations)) {
        outputs.push_back(MakeOutput(absl::StrCat(module, ".input_scale"),
                                     StoredScale(scheme, source.dtype), {1}));
      }
      return outputs;
    }
    outputs[kWeight] = MakeOutput(absl::StrCat(module, ".weight_packed"),
                                  DType::kI32, {out, Words(in, scheme.bits)});
    outputs.push_back(
        MakeOutput(absl::StrCat(module, ".weight_shape"), DType::kI64, {2}));
    if (codec.has_zeros()) {
      outputs.push_back(ZeroPoint(
          codec, absl::StrCat(module, ".weight_zero_point"), scale_shape));
    }
    if (scheme.act_order) outputs.push_back(Index(module, in));
    return outputs;
  }

  bool TakesCodes() const override { return true; }

  int64_t RowMultiple(const Codec& codec) const override {
    if (!codec.has_zeros()) return codec.row_multiple();
    // So many zero points fill whole words.
    return loose_ ? 32 / codec.scheme().bits : 32;
  }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const int64_t in = source.shape[1];
    const bool packed = IsPacked(codec);
    const Scheme& scheme = codec.scheme();
    const int64_t row_bytes = packed              ? 4 * Words(in, scheme.bits)
                              : scheme.is_table() ? in / 2
                                                  : in;
    std::vector<ByteRange> ranges = {
        {kWeight, row * row_bytes, rows * row_bytes}};
    const bool per_tensor = codec.scheme().granularity == Granularity::kTensor;
    const int64_t scale_bytes =
        codec.grid_cols(in) * ElementBytes(StoredScale(scheme, source.dtype));
    if (!per_tensor) {
      ranges.push_back({kScale, codec.grid_rows(row) * scale_bytes,
                        codec.grid_rows(rows) * scale_bytes});
    } else if (row == 0) {
      ranges.push_back({kScale, 0, scale_bytes});
    }
    if (scheme.scales == ScaleKind::kE4M3 && row == 0) {
      ranges.push_back({kGlobalScale, 0, 4});
    }
    if (scheme.act_order && row == 0) {
      ranges.push_back({IndexOutput(codec), 0, 4 * in});
    }
    if (IsStatic(scheme.activations) && row == 0) {
      ranges.push_back(
          {kInputScale, 0, ElementBytes(StoredScale(scheme, source.dtype))});
    }
    if (!packed) return ranges;
    if (row == 0) ranges.push_back({kShape, 0, 16});
    if (codec.has_zeros()) AddZeroRange(codec, in, row, rows, ranges);
    return ranges;
  }

  std::vector<uint8_t> FixedBytes(const Codec& codec, const TensorEntry& source,
                                  int output) const override {
    if (output != kShape || !IsPacked(codec)) return {};
    std::vector<uint8_t> bytes(16);
    StoreShape(source, bytes.data());
    return bytes;
  }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    PieceWriter pieces(kOutputs, out);
    const bool as_it_is = !IsPacked(codec) && !codec.scheme().is_table();
    if (!as_it_is) PackWeight(codec, tile, pieces.Buffer(kWeight));
    if (pieces.Has(kScale)) PackScales(codec, source, tile, pieces);
    if (pieces.Has(kShape) && IsPacked(codec)) {
      StoreShape(source, pieces.Buffer(kShape));
    }
    if (codec.scheme().act_order && pieces.Has(IndexOutput(codec))) {
      StoreColumnGroups(tile, codec.group(tile.cols),
                        pieces.Buffer(IndexOutput(codec)));
    }
    if (codec.scheme().scales == ScaleKind::kE4M3 && pieces.Has(kGlobalScale)) {
      StoreFloat(tile.tensor_scale, DType::kF32, pieces.Buffer(kGlobalScale));
    }
    if (IsStatic(codec.scheme().activations) && pieces.Has(kInputScale)) {
      StoreFloat(tile.input_scale, StoredScale(codec.scheme(), source.dtype),
                 pieces.Buffer(kInputScale));
    }
    if (codec.has_zeros() && pieces.Has(kZeroPoint)) {
      uint8_t* bytes = pieces.Buffer(kZeroPoint);
      if (codec.scheme().granularity == Granularity::kTensor) {
        bytes[0] = static_cast<uint8_t>(tile.zeros[0]);
      } else {
        PackColumns(tile.zeros.data(), codec.grid_rows(tile.rows),
                    codec.grid_cols(tile.cols), codec.scheme().bits, bytes);
      }
    }
    pieces.Finish();
    if (as_it_is) out.data[kWeight] = absl::MakeConstSpan(tile.codes);
  }

  absl::Status UnpackTile(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    UnpackWeight(codec, JoinPieces(tile, kWeight), out);
    return UnpackGrid(codec, source, tile, out);
  }

  absl::Status UnpackGrid(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    if (codec.scheme().scales == ScaleKind::kE4M3) {
      out.tensor_scale =
          LoadFloat(JoinPieces(tile, kGlobalScale).data(), DType::kF32);
    }
    const std::vector<uint8_t> scales = JoinPieces(tile, kScale);
    switch (codec.scheme().scales) {
      case ScaleKind::kE4M3:
        out.scales.resize(scales.size());
        for (size_t i = 0; i < scales.size(); ++i) {
          out.scales[i] = E4m3ToF32(scales[i]) / out.tensor_scale;
        }
        break;
      case ScaleKind::kE8M0:
        out.scales.resize(scales.size());
        for (size_t i = 0; i < scales.size(); ++i) {
          out.scales[i] = E8m0ToF32(scales[i]);
        }
        break;
      default:
        out.scales = LoadFloats(scales, ScaleType(source.dtype));
    }
    out.zeros.clear();
    if (codec.has_zeros()) {
      UnpackZeros(codec, JoinPieces(tile, kZeroPoint), out);
    }
    out.column_groups.clear();
    if (!codec.scheme().act_order) return absl::OkStatus();
    return UnpackIndex(codec, source, JoinPieces(tile, IndexOutput(codec)),
                       out);
  }

  bool SharesTensorScale(const Scheme& scheme) const override {
    return scheme.scales == ScaleKind::kE4M3;
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    return CtConfig(source_config, modules);
  }

 private:
  int64_t Words(int64_t n, int bits) const {
    return loose_ ? LooseWords(n, bits) : PackedWords(n, bits);
  }

  // Packed along the outputs; a single one is stored as it is, because that is
  // what the reference reads.
  OutputTensor ZeroPoint(const Codec& codec, std::string name,
                         const Shape& scale_shape) const {
    if (codec.scheme().granularity == Granularity::kTensor) {
      return MakeOutput(std::move(name), DType::kI8, {1});
    }
    return MakeOutput(
        std::move(name), DType::kI32,
        {Words(scale_shape[0], codec.scheme().bits), scale_shape[1]});
  }

  static OutputTensor Index(const std::string& module, int64_t in) {
    return MakeOutput(absl::StrCat(module, ".weight_g_idx"), DType::kI32, {in});
  }

  void AddZeroRange(const Codec& codec, int64_t in, int64_t row, int64_t rows,
                    std::vector<ByteRange>& ranges) const {
    const int bits = codec.scheme().bits;
    const int64_t word_row_bytes = 4 * codec.grid_cols(in);
    if (codec.scheme().granularity == Granularity::kTensor) {
      if (row == 0) ranges.push_back({kZeroPoint, 0, 1});
      return;
    }
    const int64_t before =
        loose_ ? row / (32 / bits) : row * bits / 32;  // whole words
    ranges.push_back({kZeroPoint, before * word_row_bytes,
                      Words(rows, bits) * word_row_bytes});
  }

  static void StoreShape(const TensorEntry& source, uint8_t* bytes) {
    const int64_t shape[2] = {source.shape[0], source.shape[1]};
    std::memcpy(bytes, shape, sizeof(shape));
  }

  static void PackWeight(const Codec& codec, const CodeTile& tile,
                         uint8_t* bytes) {
    if (codec.scheme().is_table()) {
      PackPairs(tile.codes.data(), tile.rows * tile.cols,
                NibbleOrder::kLowFirst, bytes);
    } else {
      PackRows(reinterpret_cast<const int8_t*>(tile.codes.data()), tile.rows,
               tile.cols, codec.scheme().bits, bytes);
    }
  }

  void UnpackZeros(const Codec& codec, const std::vector<uint8_t>& bytes,
                   CodeTile& out) const {
    out.zeros.resize(out.scales.size());
    if (codec.scheme().granularity == Granularity::kTensor) {
      out.zeros[0] = static_cast<int8_t>(bytes[0]);
      return;
    }
    (loose_ ? UnpackLooseColumns : UnpackColumns)(
        bytes.data(), codec.grid_rows(out.rows), codec.grid_cols(out.cols),
        codec.scheme().bits, out.zeros.data());
  }

  // Its reader sorts the columns by group and then cuts them into groups of one
  // size.
  static absl::Status UnpackIndex(const Codec& codec, const TensorEntry& source,
                                  const std::vector<uint8_t>& bytes,
                                  CodeTile& out) {
    const std::string name = absl::StrCat(ModuleOf(source), ".weight_g_idx");
    for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
      int32_t group;
      std::memcpy(&group, &bytes[i], 4);
      if (group == -1) return absl::OkStatus();
    }
    const int64_t size = codec.group(out.cols);
    QUANT_RETURN_IF_ERROR(LoadColumnGroups(
        {.name = name, .size = size, .count = codec.grid_cols(out.cols)}, bytes,
        out));
    if (GroupsAreEven(out.column_groups, size)) return absl::OkStatus();
    return ModelMalformed(absl::StrCat(name, ": groups are not of ", size,
                                       " columns each, as they must be"));
  }

  void UnpackWeight(const Codec& codec, const std::vector<uint8_t>& bytes,
                    CodeTile& out) const {
    const int64_t count = out.rows * out.cols;
    out.codes.resize(count);
    if (codec.scheme().is_table()) {
      UnpackPairs(bytes.data(), count, NibbleOrder::kLowFirst,
                  out.codes.data());
    } else if (IsPacked(codec)) {
      (loose_ ? UnpackLooseRows : UnpackRows)(
          bytes.data(), out.rows, out.cols, codec.scheme().bits,
          reinterpret_cast<int8_t*>(out.codes.data()));
    } else {
      std::memcpy(out.codes.data(), bytes.data(), count);
    }
  }

  void PackScales(const Codec& codec, const TensorEntry& source,
                  const CodeTile& tile, PieceWriter& pieces) const {
    uint8_t* bytes = pieces.Buffer(kScale);
    switch (codec.scheme().scales) {
      case ScaleKind::kE4M3:
        for (float scale : tile.scales) {
          // Off by two roundings, far from the next code.
          *bytes++ = F32ToE4m3(scale * tile.tensor_scale);
        }
        return;
      case ScaleKind::kE8M0:
        for (float scale : tile.scales) *bytes++ = F32ToE8m0(scale);
        return;
      default:
        StoreFloats(ScaleType(source.dtype), tile.scales, bytes);
    }
  }

  bool loose_;
};

}  // namespace

const ArtifactFormat& CompressedTensorsFormat() {
  static const CompressedTensors format(/*loose=*/false);
  return format;
}

const ArtifactFormat& LooseCompressedTensors() {
  static const CompressedTensors format(/*loose=*/true);
  return format;
}

}  // namespace quant

// The compressed-tensors format: pack-, int-, float- and naive-quantized.
//
// Per quantized module <m>, weight [O, I], b bits, G scales per row:
//   pack-quantized    <m>.weight_packed      I32 [O, ceil(I*b/32)]
//                     <m>.weight_scale       [grid rows, G], type of the source
//                     <m>.weight_shape       I64 [2] = (O, I)
//                     <m>.weight_zero_point  if asymmetric:
//                       I32 [ceil(rows*b/32), G]; I8 [1] for one per tensor
//   int-, float-, naive-quantized
//                     <m>.weight             I8 or F8_E4M3 [O, I]
//                     <m>.weight_scale       as above; [1] for one per tensor
// Source: the format's reference implementation, version 0.18 (dense packing of
// 3, 5, 6 and 7 bits since 0.17).
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/artifact/ct_config.h"
#include "core/artifact/format.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/kernels/pack.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

// Order of the outputs of one module.
enum Output { kWeight = 0, kScale = 1, kShape = 2, kZeroPoint = 3 };

int64_t ElementBytes(DType dtype) { return DTypeBits(dtype) / 8; }

DType ScaleTypeOf(DType source) {
  return source == DType::kF64 ? DType::kF32 : source;
}

bool IsPacked(const Codec& codec) {
  return CtFormatOf(codec.scheme()) == kPackQuantized;
}

OutputTensor Tensor(std::string name, DType dtype, Shape shape) {
  const int64_t bytes = *TensorBytes(dtype, shape);
  return {.name = std::move(name),
          .dtype = dtype,
          .shape = std::move(shape),
          .bytes = bytes};
}

Shape ScaleShape(const Codec& codec, const Shape& shape) {
  if (codec.scheme().granularity == Granularity::kTensor) return {1};
  return {codec.grid_rows(shape[0]), codec.grid_cols(shape[1])};
}

void StoreScale(float scale, DType type, uint8_t* out) {
  if (type == DType::kF32) {
    std::memcpy(out, &scale, 4);
    return;
  }
  const uint16_t bits =
      type == DType::kF16 ? F32ToF16(scale) : F32ToBf16(scale);
  std::memcpy(out, &bits, 2);
}

float LoadScale(const uint8_t* bytes, DType type) {
  if (type == DType::kF32) {
    float scale;
    std::memcpy(&scale, bytes, 4);
    return scale;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return type == DType::kF16 ? F16ToF32(bits) : Bf16ToF32(bits);
}

// Packed along the outputs; a single one is stored as it is, because that is
// what the reference reads.
OutputTensor ZeroPoint(const Codec& codec, std::string name,
                       const Shape& scale_shape) {
  if (codec.scheme().granularity == Granularity::kTensor) {
    return Tensor(std::move(name), DType::kI8, {1});
  }
  return Tensor(
      std::move(name), DType::kI32,
      {PackedWords(scale_shape[0], codec.scheme().bits), scale_shape[1]});
}

class CompressedTensors final : public ArtifactFormat {
 public:
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
    const std::string module(absl::StripSuffix(source.name, ".weight"));
    const int64_t out = source.shape[0], in = source.shape[1];
    const Shape scale_shape = ScaleShape(codec, source.shape);
    std::vector<OutputTensor> outputs(2);
    outputs[kScale] = Tensor(absl::StrCat(module, ".weight_scale"),
                             ScaleType(source.dtype), scale_shape);
    if (!IsPacked(codec)) {
      const bool integer = codec.scheme().type == NumberType::kInt;
      outputs[kWeight] =
          Tensor(absl::StrCat(module, ".weight"),
                 integer ? DType::kI8 : DType::kF8E4M3, source.shape);
      return outputs;
    }
    const int bits = codec.scheme().bits;
    outputs[kWeight] = Tensor(absl::StrCat(module, ".weight_packed"),
                              DType::kI32, {out, PackedWords(in, bits)});
    outputs.push_back(
        Tensor(absl::StrCat(module, ".weight_shape"), DType::kI64, {2}));
    if (codec.has_zeros()) {
      outputs.push_back(ZeroPoint(
          codec, absl::StrCat(module, ".weight_zero_point"), scale_shape));
    }
    return outputs;
  }

  int64_t RowMultiple(const Codec& codec) const override {
    // 32 rows of zero points fill whole words at any width.
    return codec.has_zeros() ? 32 : codec.row_multiple();
  }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const int64_t in = source.shape[1];
    const bool packed = IsPacked(codec);
    const int bits = codec.scheme().bits;
    const int64_t row_bytes = packed ? 4 * PackedWords(in, bits) : in;
    std::vector<ByteRange> ranges = {
        {kWeight, row * row_bytes, rows * row_bytes}};
    const bool per_tensor = codec.scheme().granularity == Granularity::kTensor;
    const int64_t scale_bytes =
        codec.grid_cols(in) * ElementBytes(ScaleType(source.dtype));
    if (!per_tensor) {
      ranges.push_back({kScale, codec.grid_rows(row) * scale_bytes,
                        codec.grid_rows(rows) * scale_bytes});
    } else if (row == 0) {
      ranges.push_back({kScale, 0, scale_bytes});
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
    out.data.resize(out.ranges.size());
    out.scratch.resize(4);
    for (size_t i = 0; i < out.ranges.size(); ++i) {
      const ByteRange& range = out.ranges[i];
      if (range.output == kWeight && !IsPacked(codec)) {
        out.data[i] = absl::MakeConstSpan(tile.codes);
        continue;
      }
      std::vector<uint8_t>& bytes = out.scratch[range.output];
      bytes.resize(range.bytes);
      FillOutput(codec, source, tile, range.output, bytes.data());
      out.data[i] = absl::MakeConstSpan(bytes);
    }
  }

  absl::Status Unpack(const Codec& codec, const TensorEntry& source,
                      absl::Span<const absl::Span<const uint8_t>> bytes,
                      CodeTile& out) const override {
    const int64_t rows = source.shape[0], cols = source.shape[1];
    const int bits = codec.scheme().bits;
    out.rows = rows;
    out.cols = cols;
    out.codes.resize(rows * cols);
    if (IsPacked(codec)) {
      UnpackRows(bytes[kWeight].data(), rows, cols, bits,
                 reinterpret_cast<int8_t*>(out.codes.data()));
    } else {
      std::memcpy(out.codes.data(), bytes[kWeight].data(), rows * cols);
    }
    const DType type = ScaleType(source.dtype);
    out.scales.resize(codec.grid_rows(rows) * codec.grid_cols(cols));
    for (size_t i = 0; i < out.scales.size(); ++i) {
      out.scales[i] =
          LoadScale(bytes[kScale].data() + i * ElementBytes(type), type);
    }
    out.zeros.resize(codec.has_zeros() ? out.scales.size() : 0);
    if (codec.has_zeros() && bytes[kZeroPoint].size() == 1) {
      out.zeros[0] = static_cast<int8_t>(bytes[kZeroPoint][0]);
    } else if (codec.has_zeros()) {
      UnpackColumns(bytes[kZeroPoint].data(), codec.grid_rows(rows),
                    codec.grid_cols(cols), bits, out.zeros.data());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    return CtConfig(source_config, modules);
  }

 private:
  static void AddZeroRange(const Codec& codec, int64_t in, int64_t row,
                           int64_t rows, std::vector<ByteRange>& ranges) {
    const int bits = codec.scheme().bits;
    const int64_t word_row_bytes = 4 * codec.grid_cols(in);
    if (codec.scheme().granularity == Granularity::kTensor) {
      if (row == 0) ranges.push_back({kZeroPoint, 0, 1});
      return;
    }
    ranges.push_back({kZeroPoint, row * bits / 32 * word_row_bytes,
                      PackedWords(rows, bits) * word_row_bytes});
  }

  static void StoreShape(const TensorEntry& source, uint8_t* bytes) {
    const int64_t shape[2] = {source.shape[0], source.shape[1]};
    std::memcpy(bytes, shape, sizeof(shape));
  }

  void FillOutput(const Codec& codec, const TensorEntry& source,
                  const CodeTile& tile, int output, uint8_t* bytes) const {
    const int bits = codec.scheme().bits;
    switch (output) {
      case kWeight:
        PackRows(reinterpret_cast<const int8_t*>(tile.codes.data()), tile.rows,
                 tile.cols, bits, bytes);
        return;
      case kScale: {
        const DType type = ScaleType(source.dtype);
        for (float scale : tile.scales) {
          StoreScale(scale, type, bytes);
          bytes += ElementBytes(type);
        }
        return;
      }
      case kShape:
        return StoreShape(source, bytes);
      default:
        if (codec.scheme().granularity == Granularity::kTensor) {
          bytes[0] = static_cast<uint8_t>(tile.zeros[0]);
          return;
        }
        PackColumns(tile.zeros.data(), codec.grid_rows(tile.rows),
                    codec.grid_cols(tile.cols), bits, bytes);
    }
  }
};

}  // namespace

const ArtifactFormat& CompressedTensorsFormat() {
  static const CompressedTensors format;
  return format;
}

}  // namespace quant

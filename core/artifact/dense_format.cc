// The two formats that keep every weight as one plain tensor of the same name.
//
//   safetensors  casts: the code of a cast is the value itself
//   dequantized  x_hat = (code - zero) * scale as F32; scales are kept in F32
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/artifact/config_json.h"
#include "core/artifact/format.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

DType CastType(const Scheme& scheme) {
  switch (scheme.type) {
    case NumberType::kF16:
      return DType::kF16;
    case NumberType::kBF16:
      return DType::kBF16;
    default:
      return DType::kF32;
  }
}

// One output tensor, as large as the source, in rows.
class DenseFormat : public ArtifactFormat {
 public:
  std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                          bool last_of_fused) const override {
    return "";
  }
  DType ScaleType(DType source) const override { return DType::kF32; }

  std::vector<OutputTensor> Outputs(const Codec& codec,
                                    const TensorEntry& source) const override {
    const DType dtype = StoredType(codec.scheme());
    return {{.name = source.name,
             .dtype = dtype,
             .shape = source.shape,
             .bytes = *NumElements(source.shape) * DTypeBits(dtype) / 8}};
  }

  int64_t RowMultiple(const Codec& codec) const override { return 1; }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const int64_t cols = source.shape.empty() ? 1 : source.shape.back();
    const int64_t row_bytes = cols * DTypeBits(StoredType(codec.scheme())) / 8;
    return {
        {.output = 0, .offset = row * row_bytes, .bytes = rows * row_bytes}};
  }

 protected:
  virtual DType StoredType(const Scheme& scheme) const = 0;
};

class Safetensors final : public DenseFormat {
 public:
  absl::Status CheckScheme(const Scheme& scheme) const override {
    if (scheme.is_cast()) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("format \"safetensors\" holds plain weights "
                     "(F16, BF16, F32), not scheme \"",
                     scheme.name, "\"; use format \"compressed-tensors\""));
  }

  bool ConvertsEverything() const override { return true; }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    out.data = {absl::MakeConstSpan(tile.codes)};
  }

  absl::Status Unpack(const Codec& codec, const TensorEntry& source,
                      absl::Span<const absl::Span<const uint8_t>> bytes,
                      CodeTile& out) const override {
    out.codes.assign(bytes[0].begin(), bytes[0].end());
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    if (source_config.empty()) return std::string();
    QUANT_ASSIGN_OR_RETURN(OrderedJson config,
                           ParseConfigObject(source_config));
    for (const QuantizedModule& module : modules) {
      if (!module.quantized) continue;
      const DType type = CastType(module.scheme);
      SetTorchDtype(config, type == DType::kF16    ? "float16"
                            : type == DType::kBF16 ? "bfloat16"
                                                   : "float32");
      break;
    }
    return DumpConfig(config);
  }

 protected:
  DType StoredType(const Scheme& scheme) const override {
    return CastType(scheme);
  }
};

class Dequantized final : public DenseFormat {
 public:
  // As in the files that it stands for.
  bool SharesTensorScale(const Scheme& scheme) const override {
    return scheme.scales == ScaleKind::kE4M3;
  }

  absl::Status CheckScheme(const Scheme& scheme) const override {
    return absl::OkStatus();
  }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    out.scratch.resize(1);
    out.scratch[0].resize(tile.rows * tile.cols * sizeof(float));
    float* out_row = reinterpret_cast<float*>(out.scratch[0].data());
    for (int64_t r = 0; r < tile.rows; ++r, out_row += tile.cols) {
      codec.DecodeTileRow(tile, r, out_row);
    }
    out.data = {absl::MakeConstSpan(out.scratch[0])};
  }

  absl::Status Unpack(const Codec& codec, const TensorEntry& source,
                      absl::Span<const absl::Span<const uint8_t>> bytes,
                      CodeTile& out) const override {
    return MakeError(absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
                     "format \"dequantized\" holds no codes");
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    if (source_config.empty()) return std::string();
    QUANT_ASSIGN_OR_RETURN(OrderedJson config,
                           ParseConfigObject(source_config));
    SetTorchDtype(config, "float32");
    return DumpConfig(config);
  }

 protected:
  DType StoredType(const Scheme& scheme) const override { return DType::kF32; }
};

}  // namespace

const ArtifactFormat& SafetensorsFormat() {
  static const Safetensors format;
  return format;
}

const ArtifactFormat& DequantizedFormat() {
  static const Dequantized format;
  return format;
}

}  // namespace quant

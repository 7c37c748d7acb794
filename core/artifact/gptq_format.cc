// GPTQ's files, version 1 (checkpoint_format "gptq") and 2 ("gptq_v2").
//
// Per quantized module <m>, weight [O, I], b bits, G groups:
//   <m>.qweight  I32 [I*b/32, O]  u = q + 2^(b-1), packed along the inputs
//   <m>.qzeros   I32 [G, O*b/32]  zeros packed along the outputs: u_z (v2), or
//                                 u_z - 1 modulo 2^b (v1)
//   <m>.scales   F16 or BF16 [G, O]
//   <m>.g_idx    I32 [I]          group of each input
// Packing: dense little-endian streams of 32-bit words (pack.h); w = s (u -
// u_z). Source: AutoGPTQ's qlinear_cuda, GPTQModel's packing and configuration.
//
// Version 1 can't say u_z = 0: stored as 2^b - 1, which is 2^b or 0 once one is
// added, as a loader pleases. Asymmetric integers that are made here keep their
// zero points from there (Scheme::zero_above_lowest).
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/artifact/column_groups.h"
#include "core/artifact/config_json.h"
#include "core/artifact/format.h"
#include "core/artifact/module_lists.h"
#include "core/artifact/output_bytes.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"
#include "core/kernels/pack.h"
#include "core/kernels/transpose.h"

namespace quant {
namespace {

enum Output { kWeight = 0, kZeros = 1, kScales = 2, kIndex = 3, kOutputs = 4 };

// Runs of an output's line are then at least 256 bytes of codes.
constexpr int64_t kTileRows = 128;

DType ScaleTypeOf(DType source) {
  return source == DType::kBF16 ? DType::kBF16 : DType::kF16;
}

// In files: -1 is one group of all inputs.
int64_t StoredGroup(const Scheme& scheme) {
  return scheme.granularity == Granularity::kGroup ? scheme.group_size : -1;
}

absl::Status Refuse(const Scheme& scheme, absl::string_view why) {
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
      absl::StrCat("GPTQ's files can't carry scheme \"", scheme.name, "\" (",
                   DescribeScheme(scheme), "): ", why));
}

class Gptq final : public ArtifactFormat {
 public:
  explicit Gptq(int version) : version_(version) {}

  absl::Status CheckScheme(const Scheme& scheme) const override {
    const bool integer = scheme.type == NumberType::kInt &&
                         scheme.activations == Activations::kNone &&
                         scheme.scales == ScaleKind::kFloat;
    if (!integer) {
      return Refuse(scheme,
                    "they hold integers of 2, 3, 4 or 8 bits without "
                    "quantized activations; the nearest is W4A16");
    }
    if (scheme.bits > 4 && scheme.bits != 8) {
      return Refuse(scheme,
                    "2, 3, 4 and 8 bits are read; the nearest is W8A16");
    }
    if (scheme.granularity == Granularity::kTensor) {
      return Refuse(scheme,
                    "they have scales per group or channel; the nearest is "
                    "group size channel");
    }
    return absl::OkStatus();
  }

  Scheme Narrowed(const Scheme& scheme) const override {
    Scheme narrowed = scheme;
    narrowed.zero_above_lowest = version_ == 1 && !scheme.symmetric;
    return narrowed;
  }

  bool TakesCodes() const override { return true; }

  std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                          bool last_of_fused) const override {
    const int64_t out = shape[0], in = shape[1];
    if (in % 32 != 0) {
      return absl::StrCat(in, " % 32 != 0: words are packed along the inputs");
    }
    if (out % 32 != 0) {
      return absl::StrCat(
          out, " % 32 != 0: zero points are packed along the outputs");
    }
    if (scheme.granularity == Granularity::kGroup &&
        in % scheme.group_size != 0) {
      return absl::StrCat(in, " % ", scheme.group_size,
                          " != 0: the group size must divide the inputs");
    }
    return "";
  }

  bool TakesClass(ModuleClass module_class) const override {
    return module_class == ModuleClass::kLinear ||
           module_class == ModuleClass::kLmHead;
  }

  DType ScaleType(DType source) const override { return ScaleTypeOf(source); }

  std::vector<OutputTensor> Outputs(const Codec& codec,
                                    const TensorEntry& source) const override {
    const std::string module = ModuleOf(source);
    const int64_t out = source.shape[0], in = source.shape[1];
    const int64_t groups = codec.grid_cols(in);
    const int bits = codec.scheme().bits;
    return {
        MakeOutput(module + ".qweight", DType::kI32, {in * bits / 32, out}),
        MakeOutput(module + ".qzeros", DType::kI32, {groups, out * bits / 32}),
        MakeOutput(module + ".scales", ScaleTypeOf(source.dtype),
                   {groups, out}),
        MakeOutput(module + ".g_idx", DType::kI32, {in})};
  }

  int64_t RowMultiple(const Codec& codec) const override { return kTileRows; }
  // Zero points of 32 rows are whole words.
  int64_t ReadMultiple(const Codec& codec) const override { return 32; }

  std::vector<ByteRange> TileRanges(const Codec& codec,
                                    const TensorEntry& source, int64_t row,
                                    int64_t rows) const override {
    const int64_t out = source.shape[0], in = source.shape[1];
    const int64_t groups = codec.grid_cols(in);
    const int bits = codec.scheme().bits;
    std::vector<ByteRange> ranges;
    AddPieces({kWeight, in * bits / 32, 4 * out, 4 * row, 4 * rows}, ranges);
    AddPieces({kZeros, groups, out * bits / 8, row * bits / 8, rows * bits / 8},
              ranges);
    AddPieces({kScales, groups, 2 * out, 2 * row, 2 * rows}, ranges);
    if (row == 0) ranges.push_back({kIndex, 0, 4 * in});
    return ranges;
  }

  void Pack(const Codec& codec, const TensorEntry& source, const CodeTile& tile,
            PackedTile& out) const override {
    const int bits = codec.scheme().bits;
    const int64_t groups = codec.grid_cols(tile.cols);
    PieceWriter pieces(kOutputs, out);
    const int64_t words = PackedWords(tile.cols, bits);
    std::vector<uint8_t> packed(4 * tile.rows * words);
    PackRows(reinterpret_cast<const int8_t*>(tile.codes.data()), tile.rows,
             tile.cols, bits, packed.data());
    TransposeWords(packed.data(), tile.rows, words, pieces.Buffer(kWeight));
    const std::vector<int8_t> zeros = StoredZeros(tile, groups);
    PackRows(zeros.data(), groups, tile.rows, bits, pieces.Buffer(kZeros));
    const DType type = ScaleTypeOf(source.dtype);
    uint8_t* scales = pieces.Buffer(kScales);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < tile.rows; ++r, scales += 2) {
        StoreFloat(tile.scales[r * groups + g], type, scales);
      }
    }
    if (pieces.Has(kIndex)) {
      StoreColumnGroups(tile, codec.group(tile.cols), pieces.Buffer(kIndex));
    }
    pieces.Finish();
  }

  absl::Status UnpackTile(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    const int bits = codec.scheme().bits;
    const int64_t words = PackedWords(out.cols, bits);
    const std::vector<uint8_t> lines = JoinPieces(tile, kWeight);
    std::vector<uint8_t> packed(lines.size());
    TransposeWords(lines.data(), words, out.rows, packed.data());
    out.codes.resize(out.rows * out.cols);
    UnpackRows(packed.data(), out.rows, out.cols, bits,
               reinterpret_cast<int8_t*>(out.codes.data()));
    return UnpackGrid(codec, source, tile, out);
  }

  absl::Status UnpackGrid(const Codec& codec, const TensorEntry& source,
                          const PackedTile& tile,
                          CodeTile& out) const override {
    const int64_t groups = codec.grid_cols(out.cols);
    const std::vector<float> scales =
        LoadFloats(JoinPieces(tile, kScales), ScaleTypeOf(source.dtype));
    out.scales.resize(scales.size());
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < out.rows; ++r) {
        out.scales[r * groups + g] = scales[g * out.rows + r];
      }
    }
    LoadZeros(codec, JoinPieces(tile, kZeros), groups, out);
    return LoadColumnGroups({.name = ModuleOf(source) + ".g_idx",
                             .size = codec.group(out.cols),
                             .count = groups},
                            JoinPieces(tile, kIndex), out);
  }

  absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const override {
    QUANT_ASSIGN_OR_RETURN(OrderedJson config,
                           ParseConfigObject(source_config));
    config["quantization_config"] = Settings(modules);
    return DumpConfig(config);
  }

  absl::StatusOr<std::vector<TextFile>> MoreTexts(
      const std::vector<QuantizedModule>& modules) const override {
    return std::vector<TextFile>{
        {"quantize_config.json", DumpConfig(Settings(modules))}};
  }

 private:
  // [groups, rows], as PackRows takes them: what version 1 subtracts wraps
  // around there.
  std::vector<int8_t> StoredZeros(const CodeTile& tile, int64_t groups) const {
    std::vector<int8_t> zeros(tile.rows * groups);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < tile.rows; ++r) {
        const int zero = tile.zeros.empty() ? 0 : tile.zeros[r * groups + g];
        zeros[g * tile.rows + r] =
            static_cast<int8_t>(zero - (version_ == 1 ? 1 : 0));
      }
    }
    return zeros;
  }

  // A symmetric file's zero points are read too: loaders differ in whether they
  // look at them, and only the middle is both.
  void LoadZeros(const Codec& codec, const std::vector<uint8_t>& bytes,
                 int64_t groups, CodeTile& out) const {
    const int bits = codec.scheme().bits;
    std::vector<int8_t> stored(out.rows * groups);
    UnpackRows(bytes.data(), groups, out.rows, bits, stored.data());
    out.zeros.clear();
    if (!codec.has_zeros()) return;
    out.zeros.resize(stored.size());
    const int half = 1 << (bits - 1);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < out.rows; ++r) {
        int unsigned_zero = stored[g * out.rows + r] + half;
        if (version_ == 1) unsigned_zero = (unsigned_zero + 1) % (2 * half);
        out.zeros[r * groups + g] = static_cast<int8_t>(unsigned_zero - half);
      }
    }
  }

  static OrderedJson SchemeKeys(const Scheme& scheme) {
    OrderedJson keys;
    keys["bits"] = scheme.bits;
    keys["group_size"] = StoredGroup(scheme);
    keys["sym"] = scheme.symmetric;
    return keys;
  }

  // Modules that are not as all others, by patterns: "-:" leaves as it is.
  static OrderedJson Dynamic(const std::vector<QuantizedModule>& modules,
                             const Scheme& common) {
    OrderedJson dynamic = OrderedJson::object();
    const auto pattern = [](absl::string_view sign, const std::string& module) {
      return absl::StrCat(sign, "^",
                          absl::StrReplaceAll(module, {{".", "\\."}}), "$");
    };
    for (const QuantizedModule& module : modules) {
      if (module.quantized && !SameNumbers(module.scheme, common)) {
        dynamic[pattern("+:", module.role.module)] = SchemeKeys(module.scheme);
      }
      if (!module.quantized && module.role.is_matrix &&
          module.role.module_class == ModuleClass::kLinear) {
        dynamic[pattern("-:", module.role.module)] = OrderedJson::object();
      }
    }
    return dynamic;
  }

  OrderedJson Settings(const std::vector<QuantizedModule>& modules) const {
    const Scheme common = CommonScheme(modules);
    const char* name = version_ == 1 ? "gptq" : "gptq_v2";
    OrderedJson settings = SchemeKeys(common);
    settings["desc_act"] = false;
    for (const QuantizedModule& module : modules) {
      if (module.quantized && module.scheme.act_order) {
        settings["desc_act"] = true;
      }
    }
    settings["quant_method"] = "gptq";
    settings["checkpoint_format"] = name;
    settings["format"] = name;
    settings["pack_dtype"] = "int32";
    settings["lm_head"] = false;
    for (const QuantizedModule& module : modules) {
      if (module.quantized &&
          module.role.module_class == ModuleClass::kLmHead) {
        settings["lm_head"] = true;
      }
    }
    if (OrderedJson dynamic = Dynamic(modules, common); !dynamic.empty()) {
      settings["dynamic"] = std::move(dynamic);
    }
    settings["meta"]["quantizer"] = {absl::StrCat("quantd:", kVersion)};
    return settings;
  }

  int version_;
};

}  // namespace

const ArtifactFormat& GptqFormat() {
  static const Gptq format(1);
  return format;
}

const ArtifactFormat& GptqV2Format() {
  static const Gptq format(2);
  return format;
}

}  // namespace quant

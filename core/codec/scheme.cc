#include "core/codec/scheme.h"

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/names.h"

namespace quant {
namespace {

const Preset kPresets[] = {
#define QUANT_PRESET(name, type, bits, symmetric, granularity, group, rows,   \
                     cols, activations, description, unavailable)             \
  {{name, NumberType::type, bits, symmetric, Granularity::granularity, group, \
    rows, cols, Activations::activations},                                    \
   description,                                                               \
   unavailable},
#include "core/codec/presets.def"
#undef QUANT_PRESET
#define QUANT_BLOCK_PRESET(preset, number, width, grid, size, kind, \
                           description)                             \
  {{.name = preset,                                                 \
    .type = NumberType::number,                                     \
    .bits = width,                                                  \
    .granularity = Granularity::grid,                               \
    .group_size = size,                                             \
    .scales = ScaleKind::kind},                                     \
   description,                                                     \
   ""},
#include "core/codec/block_presets.def"
#undef QUANT_BLOCK_PRESET
#define QUANT_GGUF_PRESET(scheme_name, block, code_bits, type_name, text) \
  {{.name = scheme_name,                                                  \
    .type = NumberType::kGgml,                                            \
    .bits = code_bits,                                                    \
    .granularity = Granularity::kInner,                                   \
    .ggml = GgmlType::block,                                              \
    .file_type = type_name},                                              \
   text,                                                                  \
   ""},
#include "core/codec/gguf_presets.def"
#undef QUANT_GGUF_PRESET
};

absl::string_view TypeName(const Scheme& scheme) {
  switch (scheme.type) {
    case NumberType::kInt:
      return "int";
    case NumberType::kF8E4M3:
      return "fp8 e4m3";
    case NumberType::kF8E5M2:
      return "fp8 e5m2";
    case NumberType::kF4E2M1:
      return "fp4 e2m1";
    case NumberType::kNF4:
      return "nf4";
    case NumberType::kBnbFp4:
      return "bitsandbytes fp4";
    case NumberType::kF16:
      return "float16";
    case NumberType::kBF16:
      return "bfloat16";
    case NumberType::kF32:
      return "float32";
    case NumberType::kGgml:
      return InfoOf(scheme.ggml).name;
  }
  return "";
}

// " with e8m0 scales"; empty for plain floats.
absl::string_view ScaleSuffix(ScaleKind scales) {
  switch (scales) {
    case ScaleKind::kFloat:
      return "";
    case ScaleKind::kE8M0:
      return " with e8m0 scales";
    case ScaleKind::kE4M3:
      return " with e4m3 scales";
    case ScaleKind::kNested:
      return " with quantized scales";
    case ScaleKind::kRowMax127:
      return " with scales of the largest value / 127";
  }
  return "";
}

}  // namespace

absl::string_view GranularityName(Granularity granularity) {
  switch (granularity) {
    case Granularity::kNone:
      return "none";
    case Granularity::kTensor:
      return "tensor";
    case Granularity::kChannel:
      return "channel";
    case Granularity::kGroup:
      return "group";
    case Granularity::kBlock:
      return "block";
    case Granularity::kInner:
      return "inner";
  }
  return "";
}

std::string DescribeScheme(const Scheme& scheme) {
  std::string text(TypeName(scheme));
  if (scheme.is_cast() || scheme.has_inner_scales()) return text;
  if (scheme.type == NumberType::kInt) {
    absl::StrAppend(&text, scheme.bits, scheme.symmetric ? " sym" : " asym");
  }
  absl::StrAppend(&text, " ", GranularityName(scheme.granularity));
  if (scheme.granularity == Granularity::kGroup) {
    absl::StrAppend(&text, " ", scheme.group_size);
  } else if (scheme.granularity == Granularity::kBlock) {
    absl::StrAppend(&text, " ", scheme.block_rows, "x", scheme.block_cols);
  }
  absl::StrAppend(&text, ScaleSuffix(scheme.scales));
  if (scheme.act_order) absl::StrAppend(&text, " in act-order");
  return text;
}

absl::Span<const Preset> Presets() { return kPresets; }

absl::StatusOr<Scheme> FindScheme(absl::string_view name) {
  std::vector<std::string> known;
  for (const Preset& preset : kPresets) {
    if (preset.scheme.name != name) {
      known.push_back(preset.scheme.name);
      continue;
    }
    if (preset.unavailable.empty()) return preset.scheme;
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("scheme \"", name, "\": ", preset.unavailable));
  }
  return UnknownNameError("scheme", name, known);
}

}  // namespace quant

#include "core/artifact/format.h"

#include "core/base/error.h"
#include "core/base/names.h"

namespace quant {

#define QUANT_FORMAT(name, factory, description) \
  const ArtifactFormat& factory();
#include "core/artifact/formats.def"
#undef QUANT_FORMAT

absl::Status ArtifactFormat::Unpack(
    const Codec& codec, const TensorEntry& source,
    absl::Span<const absl::Span<const uint8_t>> bytes, CodeTile& out) const {
  PackedTile tile;
  for (size_t i = 0; i < bytes.size(); ++i) {
    tile.ranges.push_back({.output = static_cast<int>(i),
                           .offset = 0,
                           .bytes = static_cast<int64_t>(bytes[i].size())});
    tile.data.push_back(bytes[i]);
  }
  out.first_row = 0;
  out.cols = source.shape.back();
  out.rows = *NumElements(source.shape) / out.cols;
  return UnpackTile(codec, source, tile, out);
}

absl::Status ArtifactFormat::UnpackTile(const Codec& codec,
                                        const TensorEntry& source,
                                        const PackedTile& tile,
                                        CodeTile& out) const {
  return MakeError(absl::StatusCode::kUnimplemented, Reason::kUnimplemented,
                   "this format's files are not read back as codes");
}

absl::Status ArtifactFormat::UnpackGrid(const Codec& codec,
                                        const TensorEntry& source,
                                        const PackedTile& tile,
                                        CodeTile& out) const {
  return MakeError(absl::StatusCode::kUnimplemented, Reason::kUnimplemented,
                   "this format has no scales and zero points apart");
}

std::vector<FormatInfo> Formats() {
  return {
#define QUANT_FORMAT(name, factory, description) {name, description},
#include "core/artifact/formats.def"
#undef QUANT_FORMAT
  };
}

absl::StatusOr<const ArtifactFormat*> FindFormat(absl::string_view name) {
#define QUANT_FORMAT(known, factory, description) \
  if (name == known) return &factory();
#include "core/artifact/formats.def"
#undef QUANT_FORMAT
  std::vector<std::string> known;
  for (const FormatInfo& info : Formats()) known.emplace_back(info.name);
  return UnknownNameError("format", name, known);
}

}  // namespace quant

#include "core/artifact/format.h"

#include "core/base/names.h"

namespace quant {

#define QUANT_FORMAT(name, factory, description) \
  const ArtifactFormat& factory();
#include "core/artifact/formats.def"
#undef QUANT_FORMAT

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

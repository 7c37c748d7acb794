// The registry's presets as test parameters: a new one is covered by being
// listed.
#ifndef QUANT_TESTS_CONFORMANCE_PRESETS_H_
#define QUANT_TESTS_CONFORMANCE_PRESETS_H_

#include <cctype>
#include <string>
#include <vector>

#include "core/codec/scheme.h"

namespace quant {

// All presets; as they are, and integers and FP8 also per tensor and channel
// and with odd groups.
inline std::vector<Scheme> AllSchemes() {
  std::vector<Scheme> schemes;
  for (const Preset& preset : Presets()) {
    const Scheme& scheme = preset.scheme;
    schemes.push_back(scheme);
    if (scheme.is_cast() || scheme.has_inner_scales()) continue;
    for (Granularity granularity :
         {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
      Scheme variant = scheme;
      variant.granularity = granularity;
      variant.group_size = granularity == Granularity::kGroup ? 24 : 0;
      variant.block_rows = variant.block_cols = 0;
      if (!(variant == scheme)) schemes.push_back(variant);
    }
  }
  return schemes;
}

// "W4A16_group_128", as gtest wants names.
inline std::string SchemeTestName(const Scheme& scheme) {
  std::string name = scheme.name + "_" + DescribeScheme(scheme);
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

}  // namespace quant

#endif  // QUANT_TESTS_CONFORMANCE_PRESETS_H_

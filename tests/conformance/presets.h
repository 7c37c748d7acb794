// The registry's presets as test parameters: a new one is covered by being
// listed.
#ifndef QUANT_TESTS_CONFORMANCE_PRESETS_H_
#define QUANT_TESTS_CONFORMANCE_PRESETS_H_

#include <cctype>
#include <string>
#include <vector>

#include "core/codec/scheme.h"

namespace quant {

// What no preset says, but formats and sources of codes do.
inline std::vector<Scheme> NamelessSchemes(const Scheme& asymmetric) {
  std::vector<Scheme> schemes;
  for (int bits : {2, 4}) {
    Scheme& narrowed = schemes.emplace_back(asymmetric);
    narrowed.bits = bits;
    narrowed.name = "W" + std::to_string(bits) + "A16_ABOVE_LOWEST";
    narrowed.zero_above_lowest = true;
    for (bool symmetric : {true, false}) {
      Scheme& reordered = schemes.emplace_back(asymmetric);
      reordered.bits = bits;
      reordered.symmetric = symmetric;
      reordered.act_order = true;
    }
  }
  return schemes;
}

// Presets without scales or with a grid of scales: as they are, and integers
// and FP8 also per tensor and channel and with odd groups;
// except where scales are part of the type.
inline std::vector<Scheme> GridSchemes() {
  std::vector<Scheme> schemes;
  for (const Preset& preset : Presets()) {
    const Scheme& scheme = preset.scheme;
    if (scheme.has_inner_scales()) continue;
    schemes.push_back(scheme);
    if (scheme.is_cast()) continue;
    if (scheme.is_table() || scheme.scales != ScaleKind::kFloat) continue;
    for (Granularity granularity :
         {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
      Scheme variant = scheme;
      variant.granularity = granularity;
      variant.group_size = granularity == Granularity::kGroup ? 24 : 0;
      variant.block_rows = variant.block_cols = 0;
      if (!(variant == scheme)) schemes.push_back(variant);
    }
    if (scheme.type != NumberType::kInt || scheme.symmetric) continue;
    for (const Scheme& more : NamelessSchemes(scheme)) schemes.push_back(more);
  }
  return schemes;
}

// Presets whose scales lie inside blocks of codes.
inline std::vector<Scheme> BlockSchemes() {
  std::vector<Scheme> schemes;
  for (const Preset& preset : Presets()) {
    if (preset.scheme.has_inner_scales()) schemes.push_back(preset.scheme);
  }
  return schemes;
}

inline std::vector<Scheme> AllSchemes() {
  std::vector<Scheme> schemes = GridSchemes();
  for (const Scheme& scheme : BlockSchemes()) schemes.push_back(scheme);
  return schemes;
}

// `cols`, or more where blocks of the scheme must fill the rows.
inline int64_t FittingCols(const Scheme& scheme, int64_t cols) {
  if (!scheme.has_inner_scales()) return cols;
  const int block = InfoOf(scheme.ggml).block_elems;
  return (cols + block - 1) / block * block;
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

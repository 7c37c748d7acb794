#include "core/artifact/loader_tables.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quant {
namespace {

using Number = NumberType;
using Grain = Granularity;
using Scale = ScaleKind;

template <typename Enum>
constexpr uint32_t Bit(Enum value) {
  return 1u << static_cast<int>(value);
}
template <typename... Enum>
constexpr uint32_t Mask(Enum... values) {
  return (Bit(values) | ...);
}

// The vocabulary of loader_schemes.def.
constexpr uint32_t Types(auto... types) { return Mask(types...); }
constexpr uint32_t Bits(auto... bits) { return Mask(bits...); }
constexpr uint32_t Grains(auto... grains) { return Mask(grains...); }
constexpr uint32_t Scales(auto... scales) { return Mask(scales...); }
constexpr uint32_t AnyType() { return ~0u; }
constexpr uint32_t AnyGrain() { return ~0u; }
constexpr uint32_t AnyScales() { return ~0u; }
constexpr std::array<int, 8> Groups(auto... groups) { return {groups...}; }

// Casts to F32 have 32 bits, beyond a mask: the number type says enough.
constexpr uint32_t AnyBits() { return 0; }

namespace kind {
using enum SymmetryKind;
using enum ActivationKind;
#define QUANT_SCHEME_KIND(id, text, types, bits, symmetry, grains, groups, \
                          activations, scales)                             \
  constexpr SchemeKind id = {text,   types,  bits,        symmetry,        \
                             grains, groups, activations, scales};
#include "core/artifact/loader_schemes.def"
#undef QUANT_SCHEME_KIND
}  // namespace kind

constexpr LoaderInfo kLoaders[] = {
#define QUANT_LOADER(name, title, state, ranks, source) \
  {name, title, state, ranks, source},
#include "core/artifact/loaders.def"
};

constexpr TakesRow kTakes[] = {
#define QUANT_LOADER_TAKES(loader, format, id, verdict, note, source) \
  {loader, format, &kind::id, Verdict::verdict, note, source},
#include "core/artifact/loaders.def"
};

constexpr MixesRow kMixes[] = {
#define QUANT_LOADER_MIXES(loader, format, verdict, note, source) \
  {loader, format, Verdict::verdict, note, source},
#include "core/artifact/loaders.def"
};

constexpr PartRow kParts[] = {
#define QUANT_LOADER_PART(loader, format, id, part, verdict, note, source) \
  {loader, format, &kind::id, LoadedPart::part, Verdict::verdict, note, source},
#include "core/artifact/loaders.def"
};

constexpr ShapeRow kShapes[] = {
#define QUANT_LOADER_SHAPE(loader, format, id, axis, multiple, note, source) \
  {loader, format, &kind::id, LoadedAxis::axis, multiple, note, source},
#include "core/artifact/loaders.def"
};

bool HasActivations(ActivationKind kind, Activations activations) {
  switch (kind) {
    case ActivationKind::kAnyActivations:
      return true;
    case ActivationKind::kWeightsOnly:
      return activations == Activations::kNone;
    case ActivationKind::kInt8Activations:
      return activations == Activations::kInt8TokenDynamic;
    case ActivationKind::kInt8Static:
      return activations == Activations::kInt8TensorStatic;
    case ActivationKind::kFp8Activations:
      return activations != Activations::kNone && !IsInt8(activations);
  }
  return false;
}

absl::string_view PartName(LoadedPart part) {
  switch (part) {
    case LoadedPart::kExpert:
      return "experts";
    case LoadedPart::kLmHead:
      return "lm_head";
    case LoadedPart::kEmbedding:
      return "embeddings";
  }
  return "";
}

}  // namespace

bool SchemeKind::Has(const Scheme& scheme) const {
  const auto has = [](uint32_t mask, auto value) {
    return (mask & Bit(value)) != 0;
  };
  if (!has(types, scheme.type) || !has(grains, scheme.granularity) ||
      !has(scales, scheme.scales) ||
      !HasActivations(activations, scheme.activations)) {
    return false;
  }
  if (bits != AnyBits() && (scheme.bits > 31 || !has(bits, scheme.bits))) {
    return false;
  }
  if (symmetry != SymmetryKind::kEither &&
      scheme.symmetric != (symmetry == SymmetryKind::kSymmetric)) {
    return false;
  }
  return scheme.granularity != Granularity::kGroup || groups[0] == 0 ||
         std::find(groups.begin(), groups.end(), scheme.group_size) !=
             groups.end();
}

absl::Span<const LoaderInfo> Loaders() { return kLoaders; }
absl::Span<const TakesRow> TakesRows() { return kTakes; }
absl::Span<const MixesRow> MixesRows() { return kMixes; }
absl::Span<const PartRow> PartRows() { return kParts; }
absl::Span<const ShapeRow> ShapeRows() { return kShapes; }

absl::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kNo:
      return "no";
    case Verdict::kPartly:
      return "partly";
    case Verdict::kYes:
      return "yes";
  }
  return "";
}

std::vector<LoaderRule> LoaderRules() {
  std::vector<LoaderRule> rules;
  const auto add = [&](const auto& row, std::string what, Verdict verdict) {
    rules.push_back({row.loader, row.format, std::move(what), verdict, row.note,
                     row.source});
  };
  for (const TakesRow& row : kTakes) {
    add(row, std::string(row.kind->text), row.verdict);
  }
  for (const MixesRow& row : kMixes) {
    add(row, "several schemes in one checkpoint", row.verdict);
  }
  for (const PartRow& row : kParts) {
    add(row, absl::StrCat(PartName(row.part), ": ", row.kind->text),
        row.verdict);
  }
  for (const ShapeRow& row : kShapes) {
    add(row,
        absl::StrCat(row.axis == LoadedAxis::kInputs
                         ? "inputs (of a rank) that "
                         : "outputs (of a merged module) that ",
                     row.multiple, " doesn't divide: ", row.kind->text),
        Verdict::kNo);
  }
  return rules;
}

}  // namespace quant

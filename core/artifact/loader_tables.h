// The tables of loaders as data (loaders.def, loader_schemes.def); loader.h has
// the questions.
#ifndef QUANT_CORE_ARTIFACT_LOADER_TABLES_H_
#define QUANT_CORE_ARTIFACT_LOADER_TABLES_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/artifact/loader.h"

namespace quant {

enum class SymmetryKind { kEither, kSymmetric, kAsymmetric };
enum class ActivationKind {
  kAnyActivations,
  kWeightsOnly,
  kInt8Activations,  // per token
  kInt8Static,
  kFp8Activations
};

// A set of schemes. Masks have bit b for bits b, or for the enum's value b.
struct SchemeKind {
  absl::string_view text;
  uint32_t types;
  uint32_t bits;
  SymmetryKind symmetry;
  uint32_t grains;
  std::array<int, 8> groups;  // with Granularity::kGroup; zeros: any
  ActivationKind activations;
  uint32_t scales;

  bool Has(const Scheme& scheme) const;
};

// Tensors that loaders treat in a way of their own.
enum class LoadedPart { kExpert, kLmHead, kEmbedding };
enum class LoadedAxis { kInputs, kOutputs };

struct TakesRow {
  absl::string_view loader, format;
  const SchemeKind* kind;
  Verdict verdict;
  absl::string_view note, source;
};
struct MixesRow {
  absl::string_view loader, format;
  Verdict verdict;
  absl::string_view note, source;
};
struct PartRow {
  absl::string_view loader, format;
  const SchemeKind* kind;
  LoadedPart part;
  Verdict verdict;
  absl::string_view note, source;
};
struct ShapeRow {
  absl::string_view loader, format;
  const SchemeKind* kind;
  LoadedAxis axis;
  int64_t multiple;
  absl::string_view note, source;
};

absl::Span<const TakesRow> TakesRows();
absl::Span<const MixesRow> MixesRows();
absl::Span<const PartRow> PartRows();
absl::Span<const ShapeRow> ShapeRows();

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_LOADER_TABLES_H_

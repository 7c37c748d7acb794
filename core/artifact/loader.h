// Who will load an artifact, and what that program takes: tables of what is
// documented (loaders.def, loader_schemes.def), and the questions that plans
// ask them. A new loader, or a new fact of one, is a line there.
//
// Legend: O out features, I in features, N ranks of tensor parallelism.
#ifndef QUANT_CORE_ARTIFACT_LOADER_H_
#define QUANT_CORE_ARTIFACT_LOADER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/architecture/roles.h"
#include "core/codec/scheme.h"
#include "core/tensor/shape.h"

namespace quant {

struct LoaderInfo {
  absl::string_view name;   // "vllm"
  absl::string_view title;  // "vLLM"
  absl::string_view state;  // which state of it the rows describe
  bool knows_ranks;         // the rows say something of tensor parallelism
  absl::string_view source;
};
absl::Span<const LoaderInfo> Loaders();
// INVALID_ARGUMENT UNKNOWN_NAME with the nearest name; the field is "loader".
absl::StatusOr<const LoaderInfo*> FindLoader(absl::string_view name);

// By how much it is taken; a better one is larger. kPartly: with a restriction,
// or documented without being told apart from its relatives.
enum class Verdict { kNo, kPartly, kYes };
// "no", "partly", "yes".
absl::string_view VerdictName(Verdict verdict);

// One row of the tables, for people.
struct LoaderRule {
  absl::string_view loader;
  absl::string_view format;
  std::string what;  // "int4, groups of 128", "several schemes", ...
  Verdict verdict = Verdict::kNo;
  absl::string_view note;
  absl::string_view source;  // with its version
};
// All rows, in the tables' order.
std::vector<LoaderRule> LoaderRules();

// Who will load an output. No name: nobody in particular, anything goes.
struct LoaderTarget {
  std::string name = "";
  int64_t ranks = 1;  // of tensor parallelism
};

// A quantized tensor as a loader sees it.
struct LoadedTensor {
  const TensorRole* role = nullptr;
  const Scheme* scheme = nullptr;
  Shape shape;                 // [O, I], or a stack of them
  int64_t module_outputs = 0;  // O of all parts of the merged module
};

// What a plan shows of a scheme that is taken.
struct LoaderNote {
  std::string scheme;
  Verdict verdict = Verdict::kYes;
  std::string note;  // may be empty
  std::string source;
};

// What one loader takes of one format. All answers are friendly without a
// loader.
class LoaderCheck {
 public:
  LoaderCheck() = default;  // nobody
  // INVALID_ARGUMENT for a name that is unknown ("loader"), and for ranks of a
  // loader whose rows don't speak of them ("tensor_parallel").
  static absl::StatusOr<LoaderCheck> Make(const LoaderTarget& target,
                                          absl::string_view format);

  // Null without a loader.
  const LoaderInfo* loader() const { return loader_; }

  Verdict Takes(const Scheme& scheme) const;
  // INVALID_ARGUMENT UNSUPPORTED for a scheme that is not taken, with what is
  // and the nearest; the field is "scheme".
  absl::Status CheckScheme(const Scheme& scheme) const;
  // Why it doesn't take the tensor, and what it does; else empty.
  std::string Misfit(const LoadedTensor& tensor) const;
  // Whether tensors of one checkpoint may have different schemes. kNo leaves a
  // reason in `why`.
  Verdict Mixes(std::string* why = nullptr) const;
  // One note per kind of scheme that occurs, in their order, then on mixtures.
  std::vector<LoaderNote> Notes(const std::vector<Scheme>& schemes) const;

 private:
  LoaderCheck(const LoaderInfo* loader, int64_t ranks, absl::string_view format)
      : loader_(loader), ranks_(ranks), format_(format) {}

  std::string PartMisfit(const LoadedTensor& tensor) const;
  std::string ShapeMisfit(const LoadedTensor& tensor) const;
  std::string Refusal(const Scheme& scheme) const;
  std::string Taken() const;
  std::string Nearest(const Scheme& scheme) const;

  const LoaderInfo* loader_ = nullptr;
  int64_t ranks_ = 1;
  absl::string_view format_;  // of the table of formats
};

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_LOADER_H_

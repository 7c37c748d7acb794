// What a size target may choose from: which tensors, and which schemes for
// them.
#ifndef QUANT_CORE_PIPELINE_CANDIDATES_H_
#define QUANT_CORE_PIPELINE_CANDIDATES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/format.h"
#include "core/artifact/loader.h"
#include "core/pipeline/decide.h"

namespace quant {

struct Candidate {
  std::optional<Scheme> scheme;  // nothing: as it is
  int64_t bytes = 0;             // of all tensors of the item
};

// Tensors that get one scheme together: one, or all parts of a merged module.
struct AllocationItem {
  std::vector<int> tensors;
  std::vector<Candidate> candidates;  // never empty; the last: as they are
};

// The members of the scheme's family: integers without activations of 2 to 8
// bits with the same symmetry and granularity; block types of GGUF files that
// have an encoder; of others only the scheme itself.
std::vector<Scheme> FamilyOf(const Scheme& scheme);

// One item per tensor that was decided by default, with the members of its
// scheme's family that format, shapes and loader allow. Tensors that rules
// decide about, or that stay as they are, are not part of it. A loader that
// takes one scheme per checkpoint leaves the scheme itself; what it takes only
// partly is offered when the scheme is no better.
struct CandidateRequest {  // pointers must outlive the call
  const ModelReader* model = nullptr;
  const std::vector<TensorRole>* roles = nullptr;
  const ArtifactFormat* format = nullptr;
  LoaderCheck loader;
};
absl::StatusOr<std::vector<AllocationItem>> OpenItems(
    const CandidateRequest& request, const std::vector<Decision>& decisions);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_CANDIDATES_H_

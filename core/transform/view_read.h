// What views that gather their tensors from a source have in common.
#ifndef QUANT_CORE_TRANSFORM_VIEW_READ_H_
#define QUANT_CORE_TRANSFORM_VIEW_READ_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/container/model_reader.h"

namespace quant {

// Elements [first, last) of the view's tensor `index`.
struct ElementRange {
  int64_t index = 0;
  int64_t first = 0;
  int64_t last = 0;
};

// Which elements `size` bytes from `begin` on of `tensor` are. `tensors`: those
// of the view, by name. INTERNAL when they are not whole elements of it.
absl::StatusOr<ElementRange> ElementsOfRead(
    absl::Span<const TensorEntry> tensors, const TensorEntry& tensor,
    int64_t begin, int64_t size);

}  // namespace quant

#endif  // QUANT_CORE_TRANSFORM_VIEW_READ_H_

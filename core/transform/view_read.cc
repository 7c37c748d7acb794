#include "core/transform/view_read.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {

absl::StatusOr<ElementRange> ElementsOfRead(
    absl::Span<const TensorEntry> tensors, const TensorEntry& tensor,
    int64_t begin, int64_t size) {
  const auto it =
      std::lower_bound(tensors.begin(), tensors.end(), tensor.name,
                       [](const TensorEntry& entry, const std::string& name) {
                         return entry.name < name;
                       });
  const int64_t element = it == tensors.end() ? 1 : DTypeBits(it->dtype) / 8;
  if (it == tensors.end() || it->name != tensor.name || begin < 0 ||
      begin > it->bytes || size > it->bytes - begin || begin % element != 0 ||
      size % element != 0) {
    return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                     absl::StrCat("tensor \"", tensor.name, "\": read of ",
                                  size, " bytes at ", begin, " is none of ",
                                  "whole elements of it"));
  }
  const int64_t first = begin / element;
  return ElementRange{.index = it - tensors.begin(),
                      .first = first,
                      .last = first + size / element};
}

}  // namespace quant

#include "core/artifact/column_groups.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {

absl::Status LoadColumnGroups(const ColumnGroups& groups,
                              absl::Span<const uint8_t> bytes, CodeTile& tile) {
  std::vector<int32_t>& index = tile.column_groups;
  index.assign(bytes.size() / 4, 0);
  if (index.empty()) return absl::OkStatus();
  std::memcpy(index.data(), bytes.data(), 4 * index.size());
  bool in_order = true;
  for (size_t i = 0; i < index.size(); ++i) {
    if (index[i] < 0 || index[i] >= groups.count) {
      return ModelMalformed(absl::StrCat(groups.name, ": element ", i, " is ",
                                         index[i], "; 0 to ", groups.count - 1,
                                         " are allowed"));
    }
    in_order &= index[i] == static_cast<int64_t>(i) / groups.size;
  }
  if (in_order) index.clear();
  return absl::OkStatus();
}

void StoreColumnGroups(const CodeTile& tile, int64_t group_size, uint8_t* out) {
  for (int64_t i = 0; i < tile.cols; ++i, out += 4) {
    const int32_t group = tile.column_groups.empty()
                              ? static_cast<int32_t>(i / group_size)
                              : tile.column_groups[i];
    std::memcpy(out, &group, 4);
  }
}

bool GroupsAreEven(absl::Span<const int32_t> column_groups,
                   int64_t group_size) {
  if (column_groups.empty()) return true;
  const int32_t last =
      *std::max_element(column_groups.begin(), column_groups.end());
  std::vector<int64_t> columns(last + 1, 0);
  for (int32_t group : column_groups) ++columns[group];
  return std::all_of(columns.begin(), columns.end(),
                     [&](int64_t count) { return count == group_size; });
}

}  // namespace quant

// Groups of columns that are listed one by one (g_idx), because the columns
// were quantized in another order than they lie in.
#ifndef QUANT_CORE_ARTIFACT_COLUMN_GROUPS_H_
#define QUANT_CORE_ARTIFACT_COLUMN_GROUPS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/codec/codec.h"

namespace quant {

// The groups of a weight's columns: I32 [I], the group of each.
struct ColumnGroups {
  std::string name;   // of the tensor, for errors
  int64_t size = 0;   // columns of a group
  int64_t count = 0;  // groups
};

// `bytes` from a file -> tile.column_groups; empty where groups are consecutive
// columns. DATA_LOSS for groups that there are not.
absl::Status LoadColumnGroups(const ColumnGroups& groups,
                              absl::Span<const uint8_t> bytes, CodeTile& tile);

// I32 [tile.cols] -> out.
void StoreColumnGroups(const CodeTile& tile, int64_t group_size, uint8_t* out);

// Whether every group has `group_size` columns: readers that sort the columns
// by group then find the groups where they look for them.
bool GroupsAreEven(absl::Span<const int32_t> column_groups, int64_t group_size);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_COLUMN_GROUPS_H_

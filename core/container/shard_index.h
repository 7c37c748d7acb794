// model.safetensors.index.json: which shard holds which tensor.
#ifndef QUANT_CORE_CONTAINER_SHARD_INDEX_H_
#define QUANT_CORE_CONTAINER_SHARD_INDEX_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quant {

struct ShardIndex {
  std::vector<std::string> shards;  // plain file names, sorted, unique
  // Tensor name -> index into `shards`; sorted by name, names unique.
  std::vector<std::pair<std::string, int>> tensors;
};

// Parses an index. DATA_LOSS MODEL_MALFORMED for text that is not such an
// object, duplicate keys, and shards that are not plain names of .safetensors
// files ("../x", "/x", "a/b").
absl::StatusOr<ShardIndex> ParseShardIndex(absl::string_view json);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_SHARD_INDEX_H_

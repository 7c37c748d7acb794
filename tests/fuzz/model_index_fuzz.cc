// model.safetensors.index.json. No accepted index names a path.
#include "absl/strings/match.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/container/shard_index.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

void ModelIndex(absl::string_view bytes) {
  const auto index = ParseShardIndex(bytes);
  if (!index.ok()) {
    QUANT_FUZZ_CHECK(GetReason(index.status()) == Reason::kModelMalformed);
    QUANT_FUZZ_CHECK(index.status().message().size() < 4096);
    return;
  }
  for (const std::string& shard : index->shards) {
    QUANT_FUZZ_CHECK(IsPlainFileName(shard));
    QUANT_FUZZ_CHECK(absl::EndsWith(shard, ".safetensors"));
  }
  for (size_t i = 0; i < index->tensors.size(); ++i) {
    const auto& [name, shard] = index->tensors[i];
    QUANT_FUZZ_CHECK(shard >= 0 &&
                     shard < static_cast<int>(index->shards.size()));
    QUANT_FUZZ_CHECK(i == 0 || index->tensors[i - 1].first < name);
  }
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::ModelIndex)

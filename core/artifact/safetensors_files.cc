// format.h: how most formats lay out their weights: safetensors files, and an
// index where there is more than one.
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/artifact/format.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/safetensors.h"

namespace quant {
namespace {

// Which file each group goes to; ascending.
std::vector<int> AssignShards(const LayoutRequest& request) {
  std::vector<int> shard(request.groups.size());
  int current = 0;
  int64_t filled = 0;
  for (size_t i = 0; i < request.groups.size(); ++i) {
    int64_t bytes = 0;
    for (const OutputTensor& output : request.groups[i]) bytes += output.bytes;
    if (filled > 0 && filled + bytes > request.max_shard_bytes) {
      ++current;
      filled = 0;
    }
    shard[i] = current;
    filled += bytes;
  }
  return shard;
}

std::string ShardName(int shard, int count) {
  if (count == 1) return "model.safetensors";
  return absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, count);
}

// Lays out one file, and tells its tensors where they are.
absl::StatusOr<LayoutFile> LayOutFile(
    std::vector<SafetensorsTensor> list,
    const std::map<std::string, OutputTensor*>& by_name, int index,
    std::string path) {
  QUANT_ASSIGN_OR_RETURN(SafetensorsLayout layout,
                         LayOutSafetensors(std::move(list)));
  LayoutFile file{.path = std::move(path),
                  .header = std::move(layout.header),
                  .tensors = {},
                  .file_size = layout.file_size};
  const int64_t start = static_cast<int64_t>(file.header.size());
  for (const SafetensorsTensor& placed : layout.tensors) {
    file.tensors.push_back(
        {placed.name, start + placed.begin, start + placed.end});
    OutputTensor& output = *by_name.at(placed.name);
    output.file = index;
    output.offset = start + placed.begin;
  }
  return file;
}

std::string IndexJson(const std::vector<LayoutFile>& files) {
  nlohmann::json weight_map = nlohmann::json::object();  // sorted by key
  int64_t total = 0;
  for (const LayoutFile& file : files) {
    for (const PlacedTensor& tensor : file.tensors) {
      weight_map[tensor.name] = file.path;
      total += tensor.end - tensor.begin;
    }
  }
  nlohmann::json index;
  index["metadata"]["total_size"] = total;
  index["weight_map"] = std::move(weight_map);
  return index.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace

absl::StatusOr<ArtifactLayout> ArtifactFormat::LayOut(
    const LayoutRequest& request) const {
  const std::vector<int> shard = AssignShards(request);
  const int count = shard.empty() ? 1 : shard.back() + 1;
  if (count > kMaxShardsPerModel) {
    return InvalidSpec(
        absl::StrCat("max_shard_bytes ", request.max_shard_bytes, " makes ",
                     count, " weight files; readers take at most ",
                     kMaxShardsPerModel),
        "max_shard_bytes");
  }
  std::vector<std::vector<SafetensorsTensor>> lists(count);
  std::vector<std::map<std::string, OutputTensor*>> by_name(count);
  for (size_t i = 0; i < request.groups.size(); ++i) {
    for (OutputTensor& output : request.groups[i]) {
      by_name[shard[i]][output.name] = &output;
      lists[shard[i]].push_back(
          {.name = output.name, .dtype = output.dtype, .shape = output.shape});
    }
  }
  ArtifactLayout layout;
  for (int f = 0; f < count; ++f) {
    QUANT_ASSIGN_OR_RETURN(
        LayoutFile file,
        LayOutFile(std::move(lists[f]), by_name[f], f, ShardName(f, count)));
    layout.files.push_back(std::move(file));
  }
  if (count > 1) {
    layout.texts.push_back(
        {"model.safetensors.index.json", IndexJson(layout.files)});
  }
  return layout;
}

}  // namespace quant

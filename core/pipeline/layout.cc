#include "core/pipeline/layout.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"

namespace quant {
namespace {

// Which file each tensor goes to; ascending.
std::vector<int> AssignShards(const std::vector<TensorPlan>& tensors,
                              int64_t max_shard_bytes) {
  std::vector<int> shard(tensors.size());
  int current = 0;
  int64_t filled = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (filled > 0 && filled + tensors[i].output_bytes > max_shard_bytes) {
      ++current;
      filled = 0;
    }
    shard[i] = current;
    filled += tensors[i].output_bytes;
  }
  return shard;
}

std::string ShardName(int shard, int count) {
  if (count == 1) return "model.safetensors";
  return absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, count);
}

}  // namespace

absl::StatusOr<std::vector<LayoutFile>> PlaceTensors(
    std::vector<TensorPlan>& tensors, int64_t max_shard_bytes) {
  const std::vector<int> shard = AssignShards(tensors, max_shard_bytes);
  const int count = shard.empty() ? 1 : shard.back() + 1;
  if (count > kMaxShardsPerModel) {
    return InvalidSpec(
        absl::StrCat("max_shard_bytes ", max_shard_bytes, " makes ", count,
                     " weight files; readers take at most ",
                     kMaxShardsPerModel),
        "max_shard_bytes");
  }
  std::vector<LayoutFile> files(count);
  std::vector<std::vector<SafetensorsTensor>> lists(count);
  std::vector<std::map<std::string, OutputTensor*>> by_name(count);
  for (size_t i = 0; i < tensors.size(); ++i) {
    for (OutputTensor& output : tensors[i].outputs) {
      by_name[shard[i]][output.name] = &output;
      lists[shard[i]].push_back(
          {.name = output.name, .dtype = output.dtype, .shape = output.shape});
    }
  }
  for (int f = 0; f < count; ++f) {
    files[f].path = ShardName(f, count);
    QUANT_ASSIGN_OR_RETURN(files[f].layout,
                           LayOutSafetensors(std::move(lists[f])));
    for (const SafetensorsTensor& placed : files[f].layout.tensors) {
      OutputTensor& output = *by_name[f][placed.name];
      output.file = f;
      output.offset =
          static_cast<int64_t>(files[f].layout.header.size()) + placed.begin;
    }
  }
  return files;
}

std::string IndexJson(const std::vector<LayoutFile>& files) {
  if (files.size() <= 1) return "";
  nlohmann::json weight_map = nlohmann::json::object();  // sorted by key
  int64_t total = 0;
  for (const LayoutFile& file : files) {
    for (const SafetensorsTensor& tensor : file.layout.tensors) {
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

Manifest PlannedManifest(const ModelReader& model, const OutputPlan& plan) {
  const std::string unknown(64, '0');
  Manifest manifest{.engine_version = kVersion,
                    .recipe_json = plan.request.recipe_json,
                    .sources = {},
                    .files = {}};
  for (const WeightFile& file : model.files()) {
    manifest.sources.push_back(
        {.name = file.name,
         .size_bytes = file.identity.size_bytes,
         .header_digest = file.header_digest,
         .sha256 = plan.request.source_digest ? unknown : ""});
  }
  const auto add = [&](const std::string& path, int64_t size) {
    manifest.files.push_back(
        {.path = path, .size_bytes = size, .sha256 = unknown});
  };
  for (const LayoutFile& file : plan.layout.files) {
    add(file.path, file.layout.file_size);
  }
  for (const TextFile& file : plan.layout.texts) {
    add(file.path, static_cast<int64_t>(file.text.size()));
  }
  for (const SideFile& file : plan.layout.side_files) {
    add(file.name, file.size_bytes);
  }
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return manifest;
}

}  // namespace quant

#include "core/container/shard_index.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

// Reads {"metadata": ..., "weight_map": {"<tensor>": "<shard>", ...}}.
class IndexEvents final : public JsonEvents {
 public:
  absl::StatusOr<ShardIndex> Finish();

  absl::Status Key(std::string key) override;
  absl::Status StartObject() override;
  absl::Status EndObject() override;
  absl::Status StartArray() override { return Wrong("a list"); }
  absl::Status EndArray() override { return absl::OkStatus(); }
  absl::Status String(std::string value) override;
  absl::Status Integer(int64_t value) override {
    return Wrong(absl::StrCat("the number ", value));
  }
  absl::Status Null() override { return Wrong("null"); }
  absl::Status Other(absl::string_view what) override { return Wrong(what); }

 private:
  enum class Place { kDocument, kTop, kMap, kEnd };

  absl::Status Wrong(absl::string_view what) const {
    return ModelMalformed(
        absl::StrCat("found ", what,
                     "; weight_map, an object of tensor names and file names, "
                     "is needed"));
  }

  Place place_ = Place::kDocument;
  bool has_map_ = false;
  std::map<std::string, int> shards_;
  std::vector<std::pair<std::string, int>> tensors_;
};

absl::Status IndexEvents::Key(std::string key) {
  if (place_ == Place::kTop) {
    if (key != "weight_map") {
      SkipValue();
      return absl::OkStatus();
    }
    if (has_map_) return ModelMalformed("weight_map is there twice");
    has_map_ = true;
    return absl::OkStatus();
  }
  if (static_cast<int64_t>(key.size()) > kMaxTensorNameBytes ||
      static_cast<int64_t>(tensors_.size()) >= kMaxTensorsPerModel) {
    return ModelMalformed(
        absl::StrCat("tensor ", QuotedName(key), ": names have at most ",
                     kMaxTensorNameBytes, " bytes, models at most ",
                     kMaxTensorsPerModel, " tensors"));
  }
  tensors_.emplace_back(std::move(key), 0);
  return absl::OkStatus();
}

absl::Status IndexEvents::StartObject() {
  if (place_ == Place::kDocument) {
    place_ = Place::kTop;
  } else if (place_ == Place::kTop) {
    place_ = Place::kMap;
  } else {
    return Wrong("an object");
  }
  return absl::OkStatus();
}

absl::Status IndexEvents::EndObject() {
  place_ = place_ == Place::kMap ? Place::kTop : Place::kEnd;
  return absl::OkStatus();
}

absl::Status IndexEvents::String(std::string value) {
  if (place_ != Place::kMap) return Wrong("a string");
  if (!IsPlainFileName(value) || value.size() > 255 ||
      !absl::EndsWith(value, ".safetensors")) {
    return ModelMalformed(absl::StrCat(
        "tensor ", QuotedName(tensors_.back().first), ": is in ",
        QuotedName(value),
        "; a plain name of a .safetensors file beside the index is needed"));
  }
  const int next = static_cast<int>(shards_.size());
  tensors_.back().second =
      shards_.try_emplace(std::move(value), next).first->second;
  if (static_cast<int64_t>(shards_.size()) > kMaxShardsPerModel) {
    return ModelMalformed(
        absl::StrCat("more than ", kMaxShardsPerModel, " shards"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ShardIndex> IndexEvents::Finish() {
  if (!has_map_) return Wrong("no weight_map");
  ShardIndex index{.shards = {}, .tensors = std::move(tensors_)};
  // From order of appearance to sorted order.
  std::vector<int> renumbered(shards_.size());
  for (const auto& [name, number] : shards_) {
    renumbered[number] = static_cast<int>(index.shards.size());
    index.shards.push_back(name);
  }
  for (auto& [name, shard] : index.tensors) shard = renumbered[shard];
  std::sort(index.tensors.begin(), index.tensors.end());
  const auto twice = std::adjacent_find(
      index.tensors.begin(), index.tensors.end(),
      [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twice != index.tensors.end()) {
    return ModelMalformed(absl::StrCat("tensor ", QuotedName(twice->first),
                                       " is in weight_map twice"));
  }
  return index;
}

}  // namespace

absl::StatusOr<ShardIndex> ParseShardIndex(absl::string_view json) {
  IndexEvents events;
  QUANT_RETURN_IF_ERROR(ParseJsonEvents(json, events));
  return events.Finish();
}

}  // namespace quant

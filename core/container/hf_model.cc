#include "core/container/hf_model.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"
#include "core/container/safetensors.h"
#include "core/container/shard_index.h"
#include "core/container/side_files.h"

namespace quant {
namespace {

constexpr char kSingleName[] = "model.safetensors";
constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr char kConfigName[] = "config.json";

bool HasRegular(absl::Span<const DirEntry> entries, absl::string_view name) {
  return std::any_of(entries.begin(), entries.end(), [&](const DirEntry& e) {
    return e.is_regular && e.name == name;
  });
}

bool IsPickleName(absl::string_view name) {
  for (absl::string_view ending : {".bin", ".pt", ".pth", ".ckpt", ".pkl"}) {
    if (absl::EndsWith(name, ending)) return true;
  }
  return false;
}

// One object, whatever its keys.
class AnyObject final : public JsonEvents {
 public:
  absl::Status Key(std::string) override {
    SkipValue();
    return absl::OkStatus();
  }
  absl::Status StartObject() override { return absl::OkStatus(); }
  absl::Status EndObject() override { return absl::OkStatus(); }
  absl::Status StartArray() override { return Wrong(); }
  absl::Status EndArray() override { return Wrong(); }
  absl::Status String(std::string) override { return Wrong(); }
  absl::Status Integer(int64_t) override { return Wrong(); }
  absl::Status Null() override { return Wrong(); }
  absl::Status Other(absl::string_view) override { return Wrong(); }

 private:
  static absl::Status Wrong() { return ModelMalformed("not a JSON object"); }
};

// Those who use the text know neither its path nor the byte of a mistake.
absl::StatusOr<std::string> ReadConfig(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(std::string text, ReadFile(path, kMaxConfigBytes));
  AnyObject object;
  const absl::Status status = ParseJsonEvents(text, object);
  if (!status.ok()) return Annotate(status, path);
  return text;
}

// Why a directory without the expected weight files can't be opened.
absl::Status NoWeights(const std::string& directory,
                       absl::Span<const DirEntry> entries) {
  std::string pickle;
  std::string other;
  for (const DirEntry& entry : entries) {
    if (IsPickleName(entry.name)) pickle = entry.name;
    if (absl::EndsWith(entry.name, ".safetensors")) other = entry.name;
  }
  if (pickle.empty() || !other.empty()) {
    return MakeError(
        absl::StatusCode::kNotFound, Reason::kSourceMissing,
        absl::StrCat(
            directory, ": has neither ", kSingleName, " nor ", kIndexName,
            other.empty() ? ""
                          : absl::StrCat("; to read ", other,
                                         " alone, name the file itself")));
  }
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kUnsafeFormat,
                   absl::StrCat(directory, ": has only the pickle ", pickle,
                                ", which could run code when it is opened; "
                                "convert it to safetensors"));
}

absl::Status IndexMismatch(absl::string_view tensor, absl::string_view shard,
                           bool in_index) {
  return ModelMalformed(absl::StrCat(
      "tensor \"", tensor,
      "\": ", in_index ? "the index names it in " : "is in ", shard,
      in_index ? ", which does not hold it" : ", but the index does not say so",
      "; index and shards must agree"));
}

// Both sides sorted by name.
absl::Status CompareWithIndex(const ShardIndex& index,
                              absl::Span<const TensorEntry> tensors) {
  size_t i = 0;
  for (const TensorEntry& tensor : tensors) {
    const bool listed = i < index.tensors.size() &&
                        index.tensors[i].first == tensor.name &&
                        index.tensors[i].second == tensor.file;
    if (listed) {
      ++i;
      continue;
    }
    if (i < index.tensors.size() && index.tensors[i].first <= tensor.name)
      break;
    return IndexMismatch(tensor.name, index.shards[tensor.file], false);
  }
  if (i == index.tensors.size()) return absl::OkStatus();
  return IndexMismatch(index.tensors[i].first,
                       index.shards[index.tensors[i].second], true);
}

// Header text and identity of an open file, taken together.
struct OpenedFile {
  SafetensorsHeader header;
  FileIdentity identity;
  std::string digest;
};

absl::StatusOr<OpenedFile> ReadHeader(const File& file) {
  OpenedFile opened;
  QUANT_ASSIGN_OR_RETURN(opened.identity, file.Identity());
  QUANT_ASSIGN_OR_RETURN(const std::string text,
                         ReadSafetensorsHeaderText(file));
  auto header = ParseSafetensorsHeader(text, opened.identity.size_bytes);
  if (!header.ok()) return Annotate(header.status(), file.path());
  opened.header = std::move(header).value();
  opened.digest = Xxh3Hex(text);
  return opened;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HfModel>> HfModel::OpenDirectory(
    const std::string& directory) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(directory));
  auto model = std::unique_ptr<HfModel>(new HfModel(directory));
  // A single file wins over an index, as it does in the usual loaders.
  if (HasRegular(entries, kSingleName)) {
    QUANT_ASSIGN_OR_RETURN(const std::string path,
                           ResolvePath(JoinPath(directory, kSingleName)));
    QUANT_RETURN_IF_ERROR(model->AddFile(path, kSingleName));
    std::sort(model->tensors_.begin(), model->tensors_.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  } else if (HasRegular(entries, kIndexName)) {
    const std::string index_path = JoinPath(directory, kIndexName);
    absl::Status status = model->OpenShards(index_path);
    if (!status.ok()) return Annotate(status, index_path);
  } else {
    return NoWeights(directory, entries);
  }
  if (HasRegular(entries, kConfigName)) {
    QUANT_ASSIGN_OR_RETURN(const std::string path,
                           ResolveInsideModel(directory, kConfigName));
    QUANT_ASSIGN_OR_RETURN(model->config_json_, ReadConfig(path));
  }
  QUANT_ASSIGN_OR_RETURN(model->side_files_, FindSideFiles(directory, entries));
  return model;
}

absl::StatusOr<std::unique_ptr<HfModel>> HfModel::OpenFile(
    const std::string& path, const std::string& name) {
  auto model = std::unique_ptr<HfModel>(new HfModel(path));
  QUANT_RETURN_IF_ERROR(model->AddFile(path, name));
  std::sort(model->tensors_.begin(), model->tensors_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return model;
}

absl::Status HfModel::OpenShards(const std::string& index_path) {
  QUANT_ASSIGN_OR_RETURN(const std::string json,
                         ReadFile(index_path, kMaxIndexBytes));
  QUANT_ASSIGN_OR_RETURN(const ShardIndex index, ParseShardIndex(json));
  for (const std::string& shard : index.shards) {
    const std::string path = JoinPath(path_, shard);
    if (!PathExists(path)) {
      return ModelMalformed(absl::StrCat("the shard ", shard, " is missing"));
    }
    QUANT_ASSIGN_OR_RETURN(const std::string resolved, ResolvePath(path));
    QUANT_RETURN_IF_ERROR(AddFile(resolved, shard));
    if (static_cast<int64_t>(tensors_.size()) > kMaxTensorsPerModel) {
      return ModelMalformed(
          absl::StrCat("more than ", kMaxTensorsPerModel, " tensors"));
    }
  }
  std::sort(tensors_.begin(), tensors_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.name, a.file) < std::tie(b.name, b.file);
  });
  return CompareWithIndex(index, tensors_);
}

absl::Status HfModel::AddFile(const std::string& path,
                              const std::string& name) {
  QUANT_ASSIGN_OR_RETURN(File file, OpenWeightFile(path));
  QUANT_ASSIGN_OR_RETURN(OpenedFile opened, ReadHeader(file));
  const int number = static_cast<int>(files().size());
  for (SafetensorsTensor& tensor : opened.header.tensors) {
    tensors_.push_back({.name = std::move(tensor.name),
                        .dtype = tensor.dtype,
                        .shape = std::move(tensor.shape),
                        .file = number,
                        .offset = opened.header.data_start + tensor.begin,
                        .bytes = tensor.end - tensor.begin});
  }
  weights_.Add(std::move(file), {.name = name,
                                 .identity = opened.identity,
                                 .header_digest = std::move(opened.digest)});
  return absl::OkStatus();
}

}  // namespace quant

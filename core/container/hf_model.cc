#include "core/container/hf_model.h"

#include <sys/stat.h>

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
// Well under the usual limit of 1024 descriptors per process.
constexpr size_t kMaxOpenFiles = 128;

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
    QUANT_ASSIGN_OR_RETURN(model->config_json_,
                           ReadFile(path, kMaxConfigBytes));
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
  // Opening a pipe would wait for its writer.
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return ModelMalformed(absl::StrCat(path, ": is not a regular file"));
  }
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenRead(path));
  QUANT_ASSIGN_OR_RETURN(OpenedFile opened, ReadHeader(file));
  const int number = static_cast<int>(files_.size());
  for (SafetensorsTensor& tensor : opened.header.tensors) {
    tensors_.push_back({.name = std::move(tensor.name),
                        .dtype = tensor.dtype,
                        .shape = std::move(tensor.shape),
                        .file = number,
                        .offset = opened.header.data_start + tensor.begin,
                        .bytes = tensor.end - tensor.begin});
  }
  files_.push_back({.name = name,
                    .identity = opened.identity,
                    .header_digest = std::move(opened.digest)});
  paths_.push_back(path);
  open_.emplace_back();
  if (open_.size() <= kMaxOpenFiles) open_.back().emplace(std::move(file));
  return absl::OkStatus();
}

absl::Status HfModel::Read(const TensorEntry& tensor, int64_t begin,
                           absl::Span<uint8_t> out) const {
  const int64_t size = static_cast<int64_t>(out.size());
  if (tensor.file < 0 || tensor.file >= static_cast<int>(files_.size()) ||
      begin < 0 || begin > tensor.bytes || size > tensor.bytes - begin) {
    return MakeError(
        absl::StatusCode::kInternal, Reason::kInternal,
        absl::StrCat("tensor \"", tensor.name, "\": read of ", size,
                     " bytes at ", begin, " outside of its ", tensor.bytes));
  }
  const int64_t offset = tensor.offset + begin;
  absl::Status status;
  if (open_[tensor.file]) {
    status = open_[tensor.file]->ReadAt(offset, out);
  } else {
    QUANT_RETURN_IF_ERROR(CheckFileUnchanged(tensor.file));
    QUANT_ASSIGN_OR_RETURN(const File file,
                           File::OpenRead(paths_[tensor.file]));
    status = file.ReadAt(offset, out);
  }
  if (status.ok()) return status;
  // A file that lost its end was good when it was opened: say so.
  QUANT_RETURN_IF_ERROR(CheckFileUnchanged(tensor.file));
  return status;
}

absl::Status HfModel::CheckFileUnchanged(int file) const {
  auto now = IdentityOf(paths_[file]);
  const FileIdentity& then = files_[file].identity;
  if (now.ok() && now->size_bytes == then.size_bytes &&
      now->mtime_ns == then.mtime_ns) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition, Reason::kSourceChanged,
      absl::StrCat(paths_[file], ": ", now.ok() ? "changed" : "is gone",
                   " since it was opened; the weights must stay "
                   "as they are until the end"));
}

absl::Status HfModel::CheckUnchanged() const {
  for (size_t i = 0; i < files_.size(); ++i) {
    QUANT_RETURN_IF_ERROR(CheckFileUnchanged(static_cast<int>(i)));
  }
  return absl::OkStatus();
}

}  // namespace quant

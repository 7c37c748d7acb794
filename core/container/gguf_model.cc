#include "core/container/gguf_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/gguf_rules.h"
#include "core/container/side_files.h"

namespace quant {
namespace {

std::string BaseName(absl::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));
}

TensorEntry EntryOf(GgufTensor tensor, int file) {
  TensorEntry entry{.name = std::move(tensor.name),
                    .dtype = DType::kU8,
                    .shape = std::move(tensor.shape),
                    .file = file,
                    .offset = tensor.begin,
                    .bytes = tensor.end - tensor.begin};
  if (const auto dtype = DTypeOf(tensor.type)) {
    entry.dtype = *dtype;
  } else {
    entry.block_type = tensor.type;
  }
  return entry;
}

// The name of the first file, from which those of the others follow.
absl::StatusOr<SplitName> FirstName(const std::string& name,
                                    const SplitKeys& keys) {
  auto split = ParseSplitName(name);
  if (!split || split->number != keys.number + 1 ||
      split->count != keys.count) {
    const SplitName wanted{
        .prefix = "NAME", .number = keys.number + 1, .count = keys.count};
    return ModelMalformed(absl::StrCat(
        "is part of a split model by its keys, whose files are found by name; "
        "it must be called ",
        wanted.FileName()));
  }
  split->number = 1;
  if (keys.number == 0) return *split;
  return InvalidSpec(absl::StrCat("is file ", keys.number + 1, " of ",
                                  keys.count, "; name the first, ",
                                  split->FileName()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufModel>> GgufModel::OpenFile(
    const std::string& path) {
  auto model = std::unique_ptr<GgufModel>(new GgufModel());
  QUANT_ASSIGN_OR_RETURN(model->path_, ResolvePath(path));
  QUANT_RETURN_IF_ERROR(model->OpenFiles(path));
  return model;
}

absl::StatusOr<std::unique_ptr<GgufModel>> GgufModel::OpenInDirectory(
    const std::string& directory, const std::string& name,
    absl::Span<const DirEntry> entries) {
  auto model = std::unique_ptr<GgufModel>(new GgufModel());
  model->path_ = directory;
  QUANT_RETURN_IF_ERROR(model->OpenFiles(JoinPath(directory, name)));
  QUANT_ASSIGN_OR_RETURN(model->side_files_, FindSideFiles(directory, entries));
  return model;
}

absl::Status GgufModel::OpenFiles(const std::string& path) {
  const std::string name = BaseName(path);
  QUANT_ASSIGN_OR_RETURN(std::vector<GgufKv> kvs, AddFile(path, name));
  const auto split = ReadSplitKeys(kvs);
  if (!split.ok()) return Annotate(split.status(), path);
  if (split->count > 1) {
    absl::Status status = OpenRest(ParentPath(path), name, *split);
    if (!status.ok()) return Annotate(status, path);
  }
  for (GgufKv& kv : kvs) {
    if (kv.key == kAlignmentKey || IsSplitKey(kv.key)) continue;
    kvs_.push_back(std::move(kv));
  }
  return SortTensors();
}

absl::Status GgufModel::OpenRest(const std::string& directory,
                                 const std::string& name,
                                 const SplitKeys& first) {
  QUANT_ASSIGN_OR_RETURN(SplitName split, FirstName(name, first));
  if (!first.tensors) {
    return ModelMalformed("the key split.tensors.count is missing");
  }
  for (int i = 1; i < first.count; ++i) {
    split.number = i + 1;
    const std::string file = split.FileName();
    const std::string path = JoinPath(directory, file);
    if (!PathExists(path)) {
      return ModelMalformed(absl::StrCat("the file ", file, " is missing"));
    }
    QUANT_ASSIGN_OR_RETURN(const std::vector<GgufKv> kvs, AddFile(path, file));
    QUANT_ASSIGN_OR_RETURN(const SplitKeys keys, ReadSplitKeys(kvs));
    if (keys.number != i || keys.count != first.count ||
        keys.tensors.value_or(*first.tensors) != *first.tensors) {
      return ModelMalformed(absl::StrCat(
          file, ": is file ", keys.number, " (from 0) of ", keys.count,
          " by its keys, or counts other tensors; file ", i, " of ",
          first.count, " is needed"));
    }
    if (static_cast<int64_t>(tensors_.size()) > kMaxTensorsPerModel) {
      return ModelMalformed(
          absl::StrCat("more than ", kMaxTensorsPerModel, " tensors"));
    }
  }
  if (static_cast<int64_t>(tensors_.size()) == *first.tensors) {
    return absl::OkStatus();
  }
  return ModelMalformed(absl::StrCat("the files hold ", tensors_.size(),
                                     " tensors; split.tensors.count is ",
                                     *first.tensors));
}

absl::StatusOr<std::vector<GgufKv>> GgufModel::AddFile(
    const std::string& path, const std::string& name) {
  QUANT_ASSIGN_OR_RETURN(const std::string resolved, ResolvePath(path));
  QUANT_ASSIGN_OR_RETURN(File file, OpenWeightFile(resolved));
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, file.Identity());
  QUANT_ASSIGN_OR_RETURN(GgufHeader header, ReadGgufHeader(file));
  const int number = static_cast<int>(files().size());
  for (GgufTensor& tensor : header.tensors) {
    tensors_.push_back(EntryOf(std::move(tensor), number));
  }
  weights_.Add(std::move(file), {.name = name,
                                 .identity = identity,
                                 .header_digest = std::move(header.digest)});
  return std::move(header.kvs);
}

absl::Status GgufModel::SortTensors() {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(
      tensors_.begin(), tensors_.end(),
      [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice == tensors_.end()) return absl::OkStatus();
  return ModelMalformed(absl::StrCat(
      path_, ": ", GgufTensorLabel(twice->name), " is in two files, ",
      files()[twice->file].name, " and ", files()[(twice + 1)->file].name));
}

}  // namespace quant

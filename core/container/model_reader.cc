#include "core/container/model_reader.h"

#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/gguf_model.h"
#include "core/container/gguf_split.h"
#include "core/container/hf_model.h"

namespace quant {
namespace {

absl::Status Missing(const std::string& path, absl::string_view what) {
  return MakeError(
      absl::StatusCode::kNotFound, Reason::kSourceMissing,
      absl::StrCat(path, ": ", what,
                   "; a model directory, a .safetensors or a .gguf "
                   "file is needed"));
}

std::string BaseName(absl::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));
}

absl::StatusOr<std::unique_ptr<ModelReader>> OpenDirectory(
    const std::string& directory) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(directory));
  const bool safetensors =
      std::any_of(entries.begin(), entries.end(), [](const DirEntry& entry) {
        return absl::EndsWith(entry.name, ".safetensors") ||
               absl::EndsWith(entry.name, ".safetensors.index.json");
      });
  if (safetensors) return HfModel::OpenDirectory(directory);
  QUANT_ASSIGN_OR_RETURN(const std::string gguf,
                         FindGgufFile(directory, entries));
  if (gguf.empty()) return HfModel::OpenDirectory(directory);
  return GgufModel::OpenInDirectory(directory, gguf, entries);
}

}  // namespace

absl::string_view TypeName(const TensorEntry& tensor) {
  return tensor.block_type ? InfoOf(*tensor.block_type).name
                           : DTypeName(tensor.dtype);
}

absl::StatusOr<std::unique_ptr<ModelReader>> OpenModel(
    const std::string& path) {
  auto resolved = ResolvePath(path);
  if (absl::IsNotFound(resolved.status())) {
    return Missing(path, "is not there");
  }
  QUANT_RETURN_IF_ERROR(resolved.status());
  struct stat info;
  if (::stat(resolved->c_str(), &info) != 0) {
    return Missing(path, "is not there");
  }
  if (S_ISDIR(info.st_mode)) return OpenDirectory(*resolved);
  if (!S_ISREG(info.st_mode)) {
    return Missing(path, "is neither a file nor a directory");
  }
  // The given name, not the resolved one: caches link to nameless blobs.
  std::string name = BaseName(path);
  if (absl::EndsWith(name, ".gguf")) {
    // Its siblings lie beside the link, if it is one.
    QUANT_ASSIGN_OR_RETURN(const std::string directory,
                           ResolvePath(ParentPath(path)));
    return GgufModel::OpenFile(JoinPath(directory, name));
  }
  return HfModel::OpenFile(*resolved, name);
}

}  // namespace quant

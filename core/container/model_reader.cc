#include "core/container/model_reader.h"

#include <sys/stat.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/container/hf_model.h"

namespace quant {
namespace {

absl::Status Missing(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kNotFound, Reason::kSourceMissing,
                   absl::StrCat(path, ": ", what,
                                "; a model directory or a .safetensors file "
                                "is needed"));
}

std::string BaseName(absl::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));
}

}  // namespace

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
  if (S_ISDIR(info.st_mode)) return HfModel::OpenDirectory(*resolved);
  if (!S_ISREG(info.st_mode)) {
    return Missing(path, "is neither a file nor a directory");
  }
  // The given name, not the resolved one: caches link to nameless blobs.
  std::string name = BaseName(path);
  if (absl::EndsWith(name, ".gguf")) {
    return MakeError(absl::StatusCode::kUnimplemented, Reason::kUnsupported,
                     absl::StrCat(path,
                                  ": GGUF sources are not read yet; "
                                  "name a safetensors model"));
  }
  return HfModel::OpenFile(*resolved, name);
}

}  // namespace quant

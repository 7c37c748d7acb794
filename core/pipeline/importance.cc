#include "core/pipeline/importance.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

absl::StatusOr<std::string> TheFile(const std::string& path) {
  if (!IsDirectory(path)) return path;
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(path));
  if (entries.size() != 1) {
    return InvalidSpec(absl::StrCat(path, ": holds ", entries.size(),
                                    " files; an importance matrix is one"),
                       "imatrix");
  }
  return JoinPath(path, entries[0].name);
}

}  // namespace

absl::Status LoadImportance(const std::string& path, PlanRequest& request) {
  QUANT_ASSIGN_OR_RETURN(const std::string file, TheFile(path));
  auto importance = std::make_shared<Importance>();
  QUANT_ASSIGN_OR_RETURN(importance->matrix, ReadImatrix(file));
  QUANT_ASSIGN_OR_RETURN(importance->sha256, Sha256OfFile(file));
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(file));
  importance->size_bytes = identity.size_bytes;
  importance->file_name = file.substr(file.rfind('/') + 1);
  for (OutputRequest& output : request.outputs) output.importance = importance;
  return absl::OkStatus();
}

}  // namespace quant

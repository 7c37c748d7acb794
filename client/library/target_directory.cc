#include "client/library/target_directory.h"

#include <filesystem>
#include <map>

#include "absl/strings/strip.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

bool IsLink(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_symlink(path, error);
}

class Walk {
 public:
  Walk(const std::string& root, const v1::Artifact& artifact) : root_(root) {
    for (const v1::ArtifactFile& file : artifact.files()) {
      files_[file.path()] = &file;
    }
  }

  absl::StatusOr<TargetContents> Run() {
    if (PathExists(root_)) QUANT_RETURN_IF_ERROR(Into(""));
    return std::move(contents_);
  }

 private:
  absl::Status Into(const std::string& folder) {
    QUANT_ASSIGN_OR_RETURN(const auto entries,
                           ListDirectory(JoinPath(root_, folder)));
    for (const DirEntry& entry : entries) {
      const std::string path =
          folder.empty() ? entry.name : JoinPath(folder, entry.name);
      if (IsLink(JoinPath(root_, path))) {
        contents_.foreign.push_back(path);
        continue;
      }
      if (entry.is_directory) {
        QUANT_RETURN_IF_ERROR(Into(path));
        continue;
      }
      QUANT_ASSIGN_OR_RETURN(const bool complete, IsComplete(path, entry));
      if (complete) {
        contents_.complete.insert(path);
      } else if (!IsPart(path)) {
        contents_.foreign.push_back(path);
      }
    }
    return absl::OkStatus();
  }

  bool IsPart(const std::string& path) const {
    absl::string_view name = path;
    return absl::ConsumeSuffix(&name, kPartSuffix) &&
           files_.count(std::string(name)) > 0;
  }

  absl::StatusOr<bool> IsComplete(const std::string& path,
                                  const DirEntry& entry) const {
    const auto it = files_.find(path);
    if (it == files_.end() || entry.size_bytes != it->second->size_bytes()) {
      return false;
    }
    QUANT_ASSIGN_OR_RETURN(const std::string sha256,
                           Sha256OfFile(JoinPath(root_, path)));
    return sha256 == it->second->sha256();
  }

  const std::string& root_;
  std::map<std::string, const v1::ArtifactFile*> files_;
  TargetContents contents_;
};

}  // namespace

absl::StatusOr<TargetContents> LookInto(const std::string& directory,
                                        const v1::Artifact& artifact) {
  return Walk(directory, artifact).Run();
}

}  // namespace quant

#include "core/pipeline/publish.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// The directory that is meant: without trailing slashes, and with "." and links
// resolved when it is there, so that a rename can replace it.
absl::StatusOr<std::string> TargetPath(std::string path) {
  if (PathExists(path)) return ResolvePath(path);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

absl::StatusOr<bool> HoldsAnything(const std::string& path) {
  if (!PathExists(path)) return false;
  if (!IsDirectory(path)) return true;
  QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(path));
  return !entries.empty();
}

absl::Status ExistsError(const std::string& output_dir) {
  return MakeError(
      absl::StatusCode::kAlreadyExists, Reason::kOutputExists,
      absl::StrCat(output_dir,
                   ": is not empty; choose another directory or --overwrite"));
}

// Puts `from` in the place of `to`, which exists, in one step; what was there
// is then at `from`.
absl::Status Exchange(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                  RENAME_EXCHANGE) != 0) {
    return ErrnoError(errno, absl::StrCat("exchange ", from, " and ", to));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> PrepareOutput(const std::string& output_dir,
                                          bool overwrite) {
  QUANT_ASSIGN_OR_RETURN(const std::string path, TargetPath(output_dir));
  QUANT_ASSIGN_OR_RETURN(const bool taken, HoldsAnything(path));
  if (taken && !overwrite) return ExistsError(path);
  QUANT_RETURN_IF_ERROR(MakeDirectories(ParentPath(path)));
  return absl::StrCat(path, ".partial");
}

absl::Status PublishOutputs(const ExecuteResult& result,
                            const std::string& work_dir,
                            const std::string& output_dir, bool overwrite,
                            bool sync) {
  QUANT_ASSIGN_OR_RETURN(const std::string path, TargetPath(output_dir));
  const std::string finished = result.outputs.size() == 1
                                   ? result.outputs[0].directory
                                   : JoinPath(work_dir, "outputs");
  QUANT_ASSIGN_OR_RETURN(const bool taken, HoldsAnything(path));
  if (taken) {
    if (!overwrite) return ExistsError(path);
    QUANT_RETURN_IF_ERROR(Exchange(finished, path));
  } else {
    // An empty directory is replaced by rename.
    QUANT_RETURN_IF_ERROR(Rename(finished, path));
  }
  if (sync) QUANT_RETURN_IF_ERROR(SyncDirectory(ParentPath(path)));
  return RemoveTree(work_dir);
}

}  // namespace quant

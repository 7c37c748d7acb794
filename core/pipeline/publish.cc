#include "core/pipeline/publish.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr char kMarkName[] = "published";
constexpr int64_t kMaxMarkBytes = 64 << 20;

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

std::string WorkDirectoryOf(const std::string& path) {
  return absl::StrCat(path, ".partial");
}

// Says of `finished`, before it is renamed to `path`, whose result it is:
// fingerprint, inode, path and report, a line each, the report with all that
// follows.
absl::Status WriteMark(const Publication& publication,
                       const std::string& finished, const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(finished));
  return WriteFileAtomically(
      JoinPath(publication.work_dir, kMarkName),
      absl::StrCat(publication.fingerprint, "\n", identity.inode, "\n", path,
                   "\n", publication.report),
      publication.sync);
}

// The mark goes last: until then, TakePublished can go on with it.
absl::Status RemoveWork(const std::string& work_dir) {
  QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(work_dir));
  for (const DirEntry& entry : entries) {
    if (entry.name == kMarkName) continue;
    QUANT_RETURN_IF_ERROR(RemoveTree(JoinPath(work_dir, entry.name)));
  }
  return RemoveTree(work_dir);
}

}  // namespace

absl::StatusOr<std::string> PrepareOutput(const std::string& output_dir,
                                          bool overwrite) {
  QUANT_ASSIGN_OR_RETURN(const std::string path, TargetPath(output_dir));
  QUANT_ASSIGN_OR_RETURN(const bool taken, HoldsAnything(path));
  if (taken && !overwrite) return ExistsError(path);
  const std::string work_dir = WorkDirectoryOf(path);
  const absl::Status made = MakeDirectories(work_dir);
  if (made.ok()) return work_dir;
  if (absl::IsResourceExhausted(made)) return made;
  return InvalidSpec(
      absl::StrCat(output_dir, ": can't be made: ", made.message()));
}

absl::Status PublishOutputs(const ExecuteResult& result,
                            const Publication& publication) {
  const std::string& work_dir = publication.work_dir;
  QUANT_ASSIGN_OR_RETURN(const std::string path,
                         TargetPath(publication.output_dir));
  const std::string finished = result.outputs.size() == 1
                                   ? result.outputs[0].directory
                                   : JoinPath(work_dir, "outputs");
  QUANT_ASSIGN_OR_RETURN(const bool taken, HoldsAnything(path));
  if (taken && !publication.overwrite) return ExistsError(path);
  QUANT_RETURN_IF_ERROR(WriteMark(publication, finished, path));
  if (taken) {
    QUANT_RETURN_IF_ERROR(Exchange(finished, path));
  } else {
    // An empty directory is replaced by rename.
    QUANT_RETURN_IF_ERROR(Rename(finished, path));
  }
  if (publication.sync) {
    QUANT_RETURN_IF_ERROR(SyncDirectory(ParentPath(path)));
  }
  if (publication.placed) publication.placed();
  return RemoveWork(work_dir);
}

absl::StatusOr<std::optional<std::string>> TakePublished(
    const std::string& output_dir, const std::string& fingerprint) {
  QUANT_ASSIGN_OR_RETURN(const std::string path, TargetPath(output_dir));
  const std::string work_dir = WorkDirectoryOf(path);
  const auto text = ReadFile(JoinPath(work_dir, kMarkName), kMaxMarkBytes);
  if (!text.ok()) return std::nullopt;
  const std::vector<std::string> parts =
      absl::StrSplit(*text, absl::MaxSplits('\n', 3));
  if (parts.size() != 4 || parts[0] != fingerprint) return std::nullopt;
  const auto placed = IdentityOf(parts[2]);
  if (!placed.ok() || absl::StrCat(placed->inode) != parts[1]) {
    return std::nullopt;
  }
  QUANT_RETURN_IF_ERROR(RemoveWork(work_dir));
  return parts[3];
}

}  // namespace quant

// Files and directories, with errors that name them. Reads are exact: a file
// that is shorter than promised is an error, never a signal.
#ifndef QUANT_CORE_BASE_FILE_H_
#define QUANT_CORE_BASE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quant {

// What tells two versions of one file apart without reading it.
struct FileIdentity {
  int64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

// An open file. Move-only; closes on destruction. ReadAt and WriteAt may be
// called from many threads at once.
class File {
 public:
  static absl::StatusOr<File> OpenRead(const std::string& path);
  // Opens for reading and writing, creating the file when it is not there.
  static absl::StatusOr<File> OpenWrite(const std::string& path);
  // A file of our own making, in the place of what was there: never the file
  // that a link there points at.
  static absl::StatusOr<File> CreateNew(const std::string& path);
  // Opens for appending, creating the file when it is not there.
  static absl::StatusOr<File> OpenAppend(const std::string& path);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  // Fills `out` from `offset`; DATA_LOSS when the file ends before.
  absl::Status ReadAt(int64_t offset, absl::Span<uint8_t> out) const;
  absl::Status WriteAt(int64_t offset, absl::Span<const uint8_t> bytes) const;
  // The parts one after the other, in few system calls.
  absl::Status WritePartsAt(
      int64_t offset, absl::Span<const absl::Span<const uint8_t>> parts) const;
  absl::Status Append(absl::string_view bytes) const;
  absl::StatusOr<int64_t> Size() const;
  absl::StatusOr<FileIdentity> Identity() const;
  // Makes the file exactly `size` bytes and reserves their blocks, so that a
  // full disk fails now. Falls back to truncation where the file system can't.
  absl::Status Allocate(int64_t size) const;
  absl::Status Truncate(int64_t size) const;
  absl::Status Sync() const;
  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  static absl::StatusOr<File> Open(const std::string& path, int flags);
  int fd_ = -1;
  std::string path_;
};

// An exclusive lock on a file (flock), held until destruction or death.
class FileLock {
 public:
  // FAILED_PRECONDITION WORK_DIR_LOCKED when somebody else holds it.
  static absl::StatusOr<FileLock> Acquire(const std::string& path);

 private:
  explicit FileLock(File file) : file_(std::move(file)) {}
  File file_;
};

struct DirEntry {
  std::string name;
  bool is_directory = false;  // after following links
  bool is_regular = false;    // after following links
  int64_t size_bytes = 0;
};

bool PathExists(const std::string& path);
bool IsDirectory(const std::string& path);
absl::StatusOr<FileIdentity> IdentityOf(const std::string& path);
// Sorted by name; without "." and "..".
absl::StatusOr<std::vector<DirEntry>> ListDirectory(const std::string& path);
absl::Status MakeDirectories(const std::string& path);
// Removes a file or a whole tree (links are not followed). OK when absent.
absl::Status RemoveTree(const std::string& path);
absl::Status Rename(const std::string& from, const std::string& to);
absl::Status SyncDirectory(const std::string& path);
// At most `max_bytes`; RESOURCE_EXHAUSTED beyond.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes);
// Temporary file beside it, optional fsync, rename: readers see the old file
// or the new one.
absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view bytes, bool sync);
// The absolute path with all links resolved.
absl::StatusOr<std::string> ResolvePath(const std::string& path);
// Bytes that an unprivileged writer may still use on the path's file system.
absl::StatusOr<int64_t> FreeDiskBytes(const std::string& path);
std::string JoinPath(absl::string_view directory, absl::string_view name);
std::string ParentPath(absl::string_view path);
// Whether `name` is a plain file name: not empty, ".", "..", no '/', no NUL.
bool IsPlainFileName(absl::string_view name);
// Whether `path` is 1..512 bytes of plain file names, separated by '/'.
bool IsRelativePath(absl::string_view path);

}  // namespace quant

#endif  // QUANT_CORE_BASE_FILE_H_

#include "server/store/file_stamp.h"

#include <sys/stat.h>

#include <cerrno>

#include "core/base/error.h"

namespace quant {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

FileStamp StampFrom(const struct stat& info) {
  return {.device = info.st_dev,
          .inode = info.st_ino,
          .size_bytes = info.st_size,
          .mtime_ns = Nanoseconds(info.st_mtim),
          .ctime_ns = Nanoseconds(info.st_ctim)};
}

}  // namespace

absl::StatusOr<FileStamp> StampOf(int fd) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoError(errno, "a stored file");
  return StampFrom(info);
}

absl::StatusOr<FileStamp> StampOf(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) return ErrnoError(errno, path);
  return StampFrom(info);
}

}  // namespace quant

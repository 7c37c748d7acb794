#include "server/store/verified_files.h"

#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "core/base/error.h"

namespace quant {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

}  // namespace

absl::StatusOr<FileStamp> StampOf(int fd) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoError(errno, "a stored file");
  return FileStamp{.device = info.st_dev,
                   .inode = info.st_ino,
                   .size_bytes = info.st_size,
                   .mtime_ns = Nanoseconds(info.st_mtim),
                   .ctime_ns = Nanoseconds(info.st_ctim)};
}

void VerifiedFiles::Remove(const std::string& prefix) {
  std::lock_guard lock(mutex_);
  auto it = files_.lower_bound(prefix);
  while (it != files_.end() && absl::StartsWith(it->first, prefix)) {
    it = files_.erase(it);
  }
}

}  // namespace quant

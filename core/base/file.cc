#include "core/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {
constexpr size_t kMaxRelativePathBytes = 512;
}  // namespace

absl::StatusOr<File> File::Open(const std::string& path, int flags) {
  int fd;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoError(errno, path);
  return File(fd, path);
}

absl::StatusOr<File> File::OpenRead(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(File file, Open(path, O_RDONLY));
  struct stat info;
  if (::fstat(file.fd(), &info) != 0) return ErrnoError(errno, path);
  if (!S_ISREG(info.st_mode)) return ErrnoError(EISDIR, path);
  return file;
}

absl::StatusOr<File> File::OpenWrite(const std::string& path) {
  return Open(path, O_RDWR | O_CREAT);
}

absl::StatusOr<File> File::CreateNew(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, path);
  }
  return Open(path, O_RDWR | O_CREAT | O_EXCL);
}

absl::StatusOr<File> File::OpenAppend(const std::string& path) {
  return Open(path, O_RDWR | O_CREAT | O_APPEND);
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

absl::Status File::ReadAt(int64_t offset, absl::Span<uint8_t> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_, out.data(), out.size(), offset);
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, absl::StrCat(path_, ": read at byte ", offset));
    }
    if (n == 0) {
      return ModelMalformed(absl::StrCat(path_, ": ends at byte ", offset, "; ",
                                         out.size(),
                                         " more bytes were expected"));
    }
    out.remove_prefix(n);
    offset += n;
  }
  return absl::OkStatus();
}

absl::Status File::WriteAt(int64_t offset,
                           absl::Span<const uint8_t> bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, absl::StrCat(path_, ": write at byte ", offset));
    }
    bytes.remove_prefix(n);
    offset += n;
  }
  return absl::OkStatus();
}

absl::Status File::WritePartsAt(
    int64_t offset, absl::Span<const absl::Span<const uint8_t>> parts) const {
  constexpr size_t kMostParts = 64;
  while (!parts.empty()) {
    const auto some = parts.first(std::min(parts.size(), kMostParts));
    std::vector<iovec> vectors;
    int64_t bytes = 0;
    for (const auto& part : some) {
      vectors.push_back({const_cast<uint8_t*>(part.data()), part.size()});
      bytes += static_cast<int64_t>(part.size());
    }
    const ssize_t n =
        ::pwritev(fd_, vectors.data(), static_cast<int>(some.size()), offset);
    if (n < 0 && errno != EINTR) {
      return ErrnoError(errno, absl::StrCat(path_, ": write at byte ", offset));
    }
    if (n != bytes) {  // interrupted, or a nearly full disk: part by part
      for (const auto& part : some) {
        QUANT_RETURN_IF_ERROR(WriteAt(offset, part));
        offset += static_cast<int64_t>(part.size());
      }
    } else {
      offset += bytes;
    }
    parts.remove_prefix(some.size());
  }
  return absl::OkStatus();
}

absl::Status File::Append(absl::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, absl::StrCat(path_, ": append"));
    }
    bytes.remove_prefix(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> File::Size() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return ErrnoError(errno, path_);
  return info.st_size;
}

namespace {
FileIdentity ToIdentity(const struct stat& info) {
  return {.size_bytes = info.st_size,
          .mtime_ns = info.st_mtim.tv_sec * int64_t{1'000'000'000} +
                      info.st_mtim.tv_nsec,
          .inode = info.st_ino};
}
}  // namespace

absl::StatusOr<FileIdentity> File::Identity() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return ErrnoError(errno, path_);
  return ToIdentity(info);
}

absl::Status File::Allocate(int64_t size) const {
  QUANT_RETURN_IF_ERROR(Truncate(size));
  if (size == 0 || ::fallocate(fd_, 0, 0, size) == 0) return absl::OkStatus();
  if (errno == EOPNOTSUPP || errno == ENOSYS) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat(path_, ": reserving ", size, " bytes"));
}

absl::Status File::Truncate(int64_t size) const {
  if (::ftruncate(fd_, size) != 0) {
    return ErrnoError(errno, absl::StrCat(path_, ": truncate to ", size));
  }
  return absl::OkStatus();
}

absl::Status File::Sync() const {
  if (::fsync(fd_) != 0)
    return ErrnoError(errno, absl::StrCat(path_, ": fsync"));
  return absl::OkStatus();
}

absl::StatusOr<FileLock> FileLock::Acquire(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenWrite(path));
  if (::flock(file.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoError(errno, path);
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     Reason::kWorkDirLocked,
                     absl::StrCat(path, ": held by another process"));
  }
  return FileLock(std::move(file));
}

bool PathExists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

bool IsDirectory(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

absl::StatusOr<FileIdentity> IdentityOf(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoError(errno, path);
  return ToIdentity(info);
}

std::string JoinPath(absl::string_view directory, absl::string_view name) {
  if (directory.empty()) return std::string(name);
  if (directory.back() == '/') return absl::StrCat(directory, name);
  return absl::StrCat(directory, "/", name);
}

std::string ParentPath(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<size_t>(slash, 1)));
}

bool IsPlainFileName(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find('/') == absl::string_view::npos &&
         name.find('\0') == absl::string_view::npos;
}

bool IsRelativePath(absl::string_view path) {
  if (path.empty() || path.size() > kMaxRelativePathBytes) return false;
  while (true) {
    const size_t slash = path.find('/');
    if (!IsPlainFileName(path.substr(0, slash))) return false;
    if (slash == absl::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

absl::Status Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoError(errno, absl::StrCat("rename ", from, " to ", to));
  }
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoError(errno, path);
  const int result = ::fsync(fd);
  const int error_number = errno;
  ::close(fd);
  if (result != 0)
    return ErrnoError(error_number, absl::StrCat(path, ": fsync"));
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes) {
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenRead(path));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size > max_bytes) {
    return MakeError(absl::StatusCode::kResourceExhausted,
                     Reason::kModelMalformed,
                     absl::StrCat(path, ": is ", size, " bytes; at most ",
                                  max_bytes, " are read"));
  }
  std::string bytes(size, '\0');
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), size)));
  return bytes;
}

absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view bytes, bool sync) {
  static std::atomic<uint64_t> counter{0};
  const std::string temporary =
      absl::StrCat(path, ".tmp.", ::getpid(), ".", counter.fetch_add(1));
  absl::Status status = [&]() -> absl::Status {
    QUANT_ASSIGN_OR_RETURN(File file, File::CreateNew(temporary));
    QUANT_RETURN_IF_ERROR(file.WriteAt(
        0, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()),
                               bytes.size())));
    if (sync) QUANT_RETURN_IF_ERROR(file.Sync());
    return Rename(temporary, path);
  }();
  if (!status.ok()) ::unlink(temporary.c_str());
  if (status.ok() && sync) status = SyncDirectory(ParentPath(path));
  return status;
}

absl::StatusOr<std::string> ResolvePath(const std::string& path) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return ErrnoError(errno, path);
  std::string out(resolved);
  std::free(resolved);
  return out;
}

absl::StatusOr<int64_t> FreeDiskBytes(const std::string& path) {
  struct statvfs info;
  if (::statvfs(path.c_str(), &info) != 0) return ErrnoError(errno, path);
  return static_cast<int64_t>(info.f_bavail) *
         static_cast<int64_t>(info.f_frsize);
}

}  // namespace quant

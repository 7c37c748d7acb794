#include "server/data_dir.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr int kKeyBytes = 32;

// Written aside and renamed, so that a crash leaves no short key behind.
absl::Status MakeKeyFile(const std::string& path) {
  unsigned char key[kKeyBytes];
  if (RAND_bytes(key, kKeyBytes) != 1) {
    return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                     "no random bytes");
  }
  const std::string temporary = absl::StrCat(path, ".new");
  const int fd = open(temporary.c_str(),
                      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                      S_IRUSR | S_IWUSR);
  if (fd < 0) return ErrnoError(errno, temporary);
  const bool written = write(fd, key, kKeyBytes) == kKeyBytes && fsync(fd) == 0;
  const int error_number = errno;
  close(fd);
  if (!written) return ErrnoError(error_number, temporary);
  return Rename(temporary, path);
}

}  // namespace

absl::StatusOr<DataDir> DataDir::Open(const std::string& path) {
  QUANT_RETURN_IF_ERROR(MakeDirectories(path));
  QUANT_ASSIGN_OR_RETURN(std::string real, ResolvePath(path));
  absl::StatusOr<FileLock> lock = FileLock::Acquire(JoinPath(real, "lock"));
  if (!lock.ok()) {
    return Annotate(lock.status(),
                    absl::StrCat("data directory ", real,
                                 ": another quantd is running on it"));
  }
  return DataDir(std::move(real), *std::move(lock));
}

absl::StatusOr<std::string> DataDir::PageTokenKey() const {
  const std::string path = JoinPath(path_, "page_token.key");
  if (!PathExists(path)) QUANT_RETURN_IF_ERROR(MakeKeyFile(path));
  QUANT_ASSIGN_OR_RETURN(std::string key, ReadFile(path, kKeyBytes));
  if (key.size() != kKeyBytes) {
    return MakeError(
        absl::StatusCode::kDataLoss, Reason::kInternal,
        absl::StrCat(path, " has ", key.size(), " bytes, not 32; remove it"));
  }
  return key;
}

absl::Status DataDir::WriteEndpoint(absl::string_view grpc_address,
                                    absl::string_view http_address) const {
  return WriteFileAtomically(
      JoinPath(path_, "endpoint"),
      absl::StrCat("{\"grpc\": \"", grpc_address, "\", \"http\": \"",
                   http_address, "\", \"pid\": ", getpid(), "}\n"),
      /*sync=*/false);
}

void DataDir::RemoveEndpoint() const {
  unlink(JoinPath(path_, "endpoint").c_str());
}

}  // namespace quant

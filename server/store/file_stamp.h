// What tells whether a file is the one it was: a change through the file system
// moves its ctime, which nobody can set.
#ifndef QUANT_SERVER_STORE_FILE_STAMP_H_
#define QUANT_SERVER_STORE_FILE_STAMP_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace quant {

struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

// Of an open file.
absl::StatusOr<FileStamp> StampOf(int fd);

// Of the file of that name; of a link itself.
absl::StatusOr<FileStamp> StampOf(const std::string& path);

}  // namespace quant

#endif  // QUANT_SERVER_STORE_FILE_STAMP_H_

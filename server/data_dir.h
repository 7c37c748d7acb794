// The directory that holds everything a server must not forget. One server at a
// time.
#ifndef QUANT_SERVER_DATA_DIR_H_
#define QUANT_SERVER_DATA_DIR_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/file.h"

namespace quant {

class DataDir {
 public:
  // Makes it when it is not there, and locks it. FAILED_PRECONDITION
  // WORK_DIR_LOCKED while another server has it.
  static absl::StatusOr<DataDir> Open(const std::string& path);

  const std::string& path() const { return path_; }
  std::string queue_path() const { return JoinPath(path_, "queue.sqlite"); }

  // 32 random bytes, made once; nobody else can read the file.
  absl::StatusOr<std::string> PageTokenKey() const;

  // {"grpc": "127.0.0.1:50051", "http": ..., "pid": ...} for scripts, in the
  // file `endpoint`, which exists while the server is ready.
  absl::Status WriteEndpoint(absl::string_view grpc_address,
                             absl::string_view http_address) const;
  void RemoveEndpoint() const;

 private:
  DataDir(std::string path, FileLock lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  FileLock lock_;
};

}  // namespace quant

#endif  // QUANT_SERVER_DATA_DIR_H_

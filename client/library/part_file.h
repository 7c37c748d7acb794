// A file while it arrives: bytes are hashed and written on a thread of their
// own, so that both overlap with receiving.
#ifndef QUANT_CLIENT_LIBRARY_PART_FILE_H_
#define QUANT_CLIENT_LIBRARY_PART_FILE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "core/base/digest.h"
#include "core/base/file.h"

namespace quant {

// Append and the other methods are for one thread. Destruction keeps what was
// written, for a later Open.
class PartFile {
 public:
  // Opens or makes `path` and hashes what it holds. More than `expected_size`
  // bytes can't be a beginning: they are dropped.
  static absl::StatusOr<std::unique_ptr<PartFile>> Open(const std::string& path,
                                                        int64_t expected_size);
  ~PartFile();

  // Bytes taken so far, those on their way to the disk included.
  int64_t size() const { return size_; }

  // Takes over the bytes and gives back an old buffer for reuse (its contents
  // mean nothing). Blocks while too much is on its way. OUT_OF_RANGE when the
  // file would become longer than expected; errors of the disk.
  absl::Status Append(std::string& bytes);

  // Waits for the disk and answers the SHA-256. No Append after it.
  absl::StatusOr<std::string> Finish();

 private:
  PartFile(File file, int64_t expected_size);
  absl::Status TakeOverOldBytes();
  void Work();
  void Close();

  const File file_;
  const int64_t expected_size_;
  int64_t size_ = 0;
  int64_t written_ = 0;  // of the worker
  Sha256 sha_;           // of the worker

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> full_;  // guarded by mutex_, as what follows
  std::deque<std::string> empty_;
  absl::Status error_;
  bool closed_ = false;
  std::thread worker_;
};

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_PART_FILE_H_

// A file while it arrives: what was written is hashed on a thread of its own,
// beside receiving and writing what follows.
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

  int64_t size() const { return size_; }

  // Writes the bytes, takes them over and gives back an old buffer for reuse
  // (its contents mean nothing). Blocks while too many wait for their hash.
  // OUT_OF_RANGE when the file would become longer than expected; errors of
  // the disk.
  absl::Status Append(std::string& bytes);

  // The SHA-256 of the whole file. No Append after it.
  std::string Finish();

 private:
  PartFile(File file, int64_t expected_size);
  absl::Status TakeOverOldBytes();
  void HashAll();
  void Close();

  const File file_;
  const int64_t expected_size_;
  int64_t size_ = 0;
  Sha256 sha_;  // of the hasher, while it runs

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> full_;  // guarded by mutex_, as what follows
  std::deque<std::string> empty_;
  bool closed_ = false;
  std::thread hasher_;
};

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_PART_FILE_H_

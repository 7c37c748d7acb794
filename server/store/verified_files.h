// Which files were compared with their digest, and have not been touched since:
// they need not be hashed again. Thread-safe.
//
// A change through the file system moves a file's ctime, which nobody can set.
// Bytes that rot on the disk don't: those are found by the first read after a
// start, and always by the client.
#ifndef QUANT_SERVER_STORE_VERIFIED_FILES_H_
#define QUANT_SERVER_STORE_VERIFIED_FILES_H_

#include <map>
#include <mutex>
#include <string>

#include "server/store/file_stamp.h"

namespace quant {

class VerifiedFiles {
 public:
  bool Contains(const std::string& name, const FileStamp& stamp) const {
    std::lock_guard lock(mutex_);
    const auto it = files_.find(name);
    return it != files_.end() && it->second == stamp;
  }

  void Add(const std::string& name, const FileStamp& stamp) {
    std::lock_guard lock(mutex_);
    files_[name] = stamp;
  }

  // All whose names begin with `prefix`.
  void Remove(const std::string& prefix);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, FileStamp> files_;
};

}  // namespace quant

#endif  // QUANT_SERVER_STORE_VERIFIED_FILES_H_

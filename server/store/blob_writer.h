// Receives one blob into a file, hashing as it goes.
#ifndef QUANT_SERVER_STORE_BLOB_WRITER_H_
#define QUANT_SERVER_STORE_BLOB_WRITER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/upload_store.h"

namespace quant {

struct BlobTarget {
  std::string incoming;  // file that grows
  std::string finished;  // where it goes when it is whole and right
  std::string sha256;
  int64_t size_bytes = 0;
  bool sync = true;
};

// Takes up what an earlier writer left in `incoming`. `release` is called on
// destruction.
absl::StatusOr<std::unique_ptr<BlobWriter>> OpenBlobWriter(
    const BlobTarget& target, std::function<void()> release);

}  // namespace quant

#endif  // QUANT_SERVER_STORE_BLOB_WRITER_H_

// Models that clients bring: blobs by SHA-256, and uploads that name them.
// Calls may touch the disk: not for gRPC callbacks. Thread-safe.
#ifndef QUANT_SERVER_STORE_UPLOAD_STORE_H_
#define QUANT_SERVER_STORE_UPLOAD_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/store/artifact_store.h"

namespace quant {

struct UploadRecord {
  std::string id;                   // digest of the declaration: idempotent
  std::vector<StoredFile> files;    // sorted by path
  std::vector<StoredFile> missing;  // one per digest that is not stored
  int64_t create_time = 0;
  std::string tenant = {};  // who alone may use it
  bool complete() const { return missing.empty(); }
};

// A blob being received. One writer at a time; destruction without Finish keeps
// the bytes received so far for a later writer.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  // Bytes stored so far; the next Append goes there.
  virtual int64_t committed_size() const = 0;
  // The blob is already complete: nothing to do.
  virtual bool complete() const = 0;
  // INVALID_ARGUMENT OFFSET_INVALID when it would exceed the declared size.
  virtual absl::Status Append(absl::Span<const uint8_t> bytes) = 0;
  // Checks size and digest, makes it durable and visible. INVALID_ARGUMENT
  // DIGEST_MISMATCH drops the bytes.
  virtual absl::Status Finish() = 0;
};

class UploadStore {
 public:
  virtual ~UploadStore() = default;
  // Validates paths and digests; INVALID_ARGUMENT INVALID_SPEC with the field.
  // Tenants share nothing: who knows a digest has not shown the bytes, and must
  // not learn whether others have. `tenant`: a name safe as a directory's, or
  // empty where nobody is asked who they are.
  // A new declaration is made only when `admit` says OK to the bytes by which
  // TenantBytes would grow, and what is missing fits on the disk; no other is
  // made meanwhile. It may call TenantBytes and nothing else of the store.
  virtual absl::StatusOr<UploadRecord> Create(
      std::vector<StoredFile> files, const std::string& tenant,
      const std::function<absl::Status(int64_t more_bytes)>& admit) = 0;
  virtual absl::StatusOr<UploadRecord> Get(const std::string& id) = 0;
  // ABORTED BLOB_BUSY when another writer holds the blob.
  virtual absl::StatusOr<std::unique_ptr<BlobWriter>> OpenBlob(
      const std::string& upload_id, const std::string& sha256) = 0;
  struct WriteStatus {
    int64_t committed_size = 0;
    bool complete = false;
  };
  virtual absl::StatusOr<WriteStatus> QueryBlob(const std::string& upload_id,
                                                const std::string& sha256) = 0;
  // A directory that shows the complete upload as its files (hard links).
  // FAILED_PRECONDITION SOURCE_MISSING while something is missing.
  virtual absl::StatusOr<std::string> Directory(const std::string& id) = 0;
  // Of the blobs that the tenant has declared, here or still to come, and of
  // the declarations themselves.
  virtual absl::StatusOr<int64_t> TenantBytes(const std::string& tenant) = 0;

  struct SweepRequest {
    // Uploads last used before this are removed: declared, written to or asked
    // for as a directory (microseconds since the Unix epoch).
    int64_t unused_since = 0;
    std::set<std::string> keep;  // ids that are in use
  };
  struct Swept {
    int64_t uploads = 0;
    int64_t bytes = 0;  // freed, of blobs
  };
  // Also removes what no declaration names, such as a crash leaves behind.
  virtual absl::StatusOr<Swept> Sweep(const SweepRequest& request) = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_STORE_UPLOAD_STORE_H_

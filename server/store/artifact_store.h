// Where published artifacts live. Immutable once published; nothing half-made
// is ever listed. All backends pass tests/conformance/artifact_store.
//
// Calls may touch the disk: not for gRPC callbacks. Thread-safe.
#ifndef QUANT_SERVER_STORE_ARTIFACT_STORE_H_
#define QUANT_SERVER_STORE_ARTIFACT_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/store/file_stamp.h"

namespace quant {

struct StoredFile {
  std::string path;  // relative, '/'-separated
  int64_t size_bytes = 0;
  std::string sha256;
};

struct ArtifactRecord {
  std::string id;  // 26 characters, sorts by creation
  std::string job_id;
  std::string output;             // name of the job's output
  std::vector<StoredFile> files;  // sorted by path
  int64_t create_time = 0;        // microseconds since the Unix epoch
  bool gate_failed = false;
  std::string tenant = {};  // whose it is: the job's
};

struct ArtifactQuery {
  std::string job_id = {};                 // empty = of all jobs
  std::optional<std::string> tenant = {};  // nothing = of all tenants
  std::string before_id = {};  // only older ids; empty = from the newest
  int limit = 50;
};

struct PublishRequest {
  std::string job_id;
  std::string output;
  std::string directory;          // finished files; consumed (moved)
  std::vector<StoredFile> files;  // what must be in it, and nothing else
  bool gate_failed = false;
  // By path, how files looked when all their bytes had gone through their
  // digest: those that look so still need no check when they are first read.
  std::map<std::string, FileStamp> hashed;
  std::string tenant = {};
};

// An open file of an artifact: reads go on after the artifact is deleted.
class ArtifactFileReader {
 public:
  virtual ~ArtifactFileReader() = default;
  virtual int64_t size_bytes() const = 0;
  virtual absl::Status ReadAt(int64_t offset, absl::Span<uint8_t> out) = 0;
  // Whether all bytes were compared with the file's digest before, and it was
  // not touched since.
  virtual bool verified() const { return false; }
  // To be called when all bytes, as read, have the file's digest.
  virtual void MarkVerified() {}
};

class ArtifactStore {
 public:
  virtual ~ArtifactStore() = default;

  // The job's work directory: the same one for every attempt, made when it is
  // not there. On the same file system as the artifacts.
  virtual absl::StatusOr<std::string> WorkDirectory(
      const std::string& job_id) = 0;
  virtual absl::Status RemoveWorkDirectory(const std::string& job_id) = 0;

  // Makes the directory an artifact: fsync, rename, record. Idempotent per
  // (job_id, output): publishing again replaces nothing and answers the first.
  // DATA_LOSS DIGEST_MISMATCH when sizes are not as promised.
  virtual absl::StatusOr<ArtifactRecord> Publish(PublishRequest request) = 0;

  virtual absl::StatusOr<ArtifactRecord> Get(const std::string& id) = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<ArtifactRecord>> List(
      const ArtifactQuery& query) = 0;
  virtual absl::StatusOr<std::unique_ptr<ArtifactFileReader>> Open(
      const std::string& id, const std::string& path) = 0;
  virtual absl::Status Delete(const std::string& id) = 0;
  // Removes leftovers of interrupted publications and work directories of jobs
  // for which `keep` says no. Answers the bytes freed.
  virtual absl::StatusOr<int64_t> Sweep(
      const std::vector<std::string>& keep_job_ids) = 0;
  virtual absl::StatusOr<int64_t> FreeBytes() = 0;
  virtual absl::StatusOr<int64_t> UsedBytes() = 0;
  // Of the tenant's artifacts alone.
  virtual absl::StatusOr<int64_t> TenantBytes(const std::string& tenant) = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_STORE_ARTIFACT_STORE_H_

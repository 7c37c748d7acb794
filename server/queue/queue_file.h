// The queue's database as a file: looked into, copied and put back, without
// being the server that owns it.
#ifndef QUANT_SERVER_QUEUE_QUEUE_FILE_H_
#define QUANT_SERVER_QUEUE_QUEUE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/queue/job.h"

namespace quant {

// What a server would find.
struct QueueFileReport {
  int64_t schema_version = 0;
  std::vector<std::string> damage;  // SQLite's own words; empty: none
  struct Job {
    std::string id;
    JobState state = JobState::kQueued;
    std::vector<std::string> artifacts;
  };
  std::vector<Job> jobs;  // by id
};

// Reads all of it (PRAGMA integrity_check), also beside a running server.
// FAILED_PRECONDITION UNSUPPORTED for what is no queue, or a newer one;
// DATA_LOSS for what can't be read.
absl::StatusOr<QueueFileReport> InspectQueueFile(const std::string& path);

// A copy of the queue as it is at one moment, also beside a running server,
// which is not stopped: made aside, checked, fsynced and renamed.
// FAILED_PRECONDITION when `target` exists.
absl::Status BackUpQueueFile(const std::string& path,
                             const std::string& target);

// Puts a copy in the place of the queue, migrated to this binary's schema;
// nobody may have either open. What was there is kept beside it: answers its
// path, or nothing when there was none. Either the old queue or the new one is
// there at any moment.
absl::StatusOr<std::string> RestoreQueueFile(const std::string& backup,
                                             const std::string& path);

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_QUEUE_FILE_H_

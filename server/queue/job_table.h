// What a backend stores; how a queue uses it is TableJobStore's affair.
//
// Reads may come from any thread and see what is committed. Everything else
// comes from one thread, between Begin and Commit or Rollback. An error of a
// write spoils the transaction: roll it back.
#ifndef QUANT_SERVER_QUEUE_JOB_TABLE_H_
#define QUANT_SERVER_QUEUE_JOB_TABLE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/queue/job.h"
#include "server/queue/job_index.h"
#include "server/queue/job_store.h"

namespace quant {

class JobTable {
 public:
  struct Request {
    std::string id;  // EnqueueRequest.request_id
    std::string digest;
    std::string job;
    int64_t expires = 0;
  };

  virtual ~JobTable() = default;

  // --- any thread ---
  virtual absl::StatusOr<std::optional<JobRecord>> Get(
      const std::string& id) = 0;
  virtual absl::StatusOr<std::vector<JobRecord>> List(
      const ListQuery& query) = 0;
  // Ended jobs that have their own end of retention by `now`, or none and ended
  // by `ended_by`. Of the query counts what remains: limit and after.
  virtual absl::StatusOr<std::vector<JobRecord>> Expired(
      int64_t now, int64_t ended_by, const ExpiredQuery& query) = 0;
  struct EventPage {
    int64_t latest = 0;  // the job's event_sequence
    std::vector<JobEvent> events;
  };
  // Kept events with sequence > after, ascending; nullopt: no such job.
  virtual absl::StatusOr<std::optional<EventPage>> Events(const std::string& id,
                                                          int64_t after,
                                                          int limit) = 0;

  // --- the writer's thread ---
  // Tells the index all that it needs at start: the mode, counts of terminal
  // jobs, how long the latest attempts took, and each job that is not terminal.
  // Answers the greatest id there is (or empty).
  virtual absl::StatusOr<std::string> Load(JobIndex& index) = 0;
  virtual absl::Status Begin() = 0;
  virtual absl::Status Commit() = 0;
  virtual void Rollback() = 0;
  // Sees the transaction's own writes.
  virtual absl::StatusOr<std::optional<JobRecord>> Find(
      const std::string& id) = 0;
  virtual absl::Status Insert(const JobRecord& job) = 0;
  // Everything but id, spec, labels, owner, traceparent, priority, retention
  // and create_time, which never change.
  virtual absl::Status Update(const JobRecord& job) = 0;
  virtual absl::Status Remove(const std::string& id) = 0;
  virtual absl::Status AppendEvents(const std::string& id,
                                    const std::vector<JobEvent>& events) = 0;
  // Forgets the events up to and including `sequence`.
  virtual absl::Status CompactEvents(const std::string& id,
                                     int64_t sequence) = 0;
  virtual absl::StatusOr<std::optional<Request>> FindRequest(
      const std::string& id) = 0;
  virtual absl::Status PutControl(const QueueControl& control) = 0;
  virtual absl::Status PutRequest(const Request& request) = 0;
  virtual absl::Status RemoveRequestsExpiredBy(int64_t now) = 0;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_TABLE_H_

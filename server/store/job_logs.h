// What happened to each job, as a text that only grows: one JSON object per
// line, like the lines of the server's own log. A job's log outlives restarts
// and ends with the job.
//
//   logs/<job id>
//
// Writing never fails loudly: no job suffers from its log. Thread-safe.
#ifndef QUANT_SERVER_STORE_JOB_LOGS_H_
#define QUANT_SERVER_STORE_JOB_LOGS_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "server/telemetry/log.h"

namespace quant {

struct JobLogsOptions {
  // Of one log. Then a line says so, and only warnings and errors still come,
  // for a sixteenth more.
  int64_t max_bytes = 1 << 20;
  const Clock* clock = &Clock::System();
};

// Whose log it is, and what every line says.
struct JobLogSubject {
  std::string job_id;
  int64_t create_time = 0;  // of the job: the time of its first line
  std::string principal;    // who made the job
  std::string trace_id;
  int attempt = 0;  // 0: of none
};

class JobLogs {
 public:
  // Makes the directory when it is not there.
  static absl::StatusOr<std::unique_ptr<JobLogs>> Open(
      const std::string& root, const JobLogsOptions& options = {});

  // Who has more to say about a job: while there is one, its log is not
  // complete. The first one ever tells that the job was created. One thread at
  // a time; the logs outlive it.
  class Writer {
   public:
    Writer(JobLogs& logs, JobLogSubject subject);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // To the server's log too.
    void Write(LogLevel level, absl::string_view event,
               std::initializer_list<LogField> fields = {});
    // To the job's log alone.
    void Note(LogLevel level, absl::string_view event,
              absl::Span<const LogField> fields);
    void Note(LogLevel level, absl::string_view event,
              std::initializer_list<LogField> fields = {}) {
      Note(level, event, absl::MakeConstSpan(fields.begin(), fields.size()));
    }

   private:
    std::vector<LogField> WithSubject(absl::Span<const LogField> fields) const;

    JobLogs& logs_;
    const JobLogSubject subject_;
  };

  // Of a job that has none so far: 0.
  absl::StatusOr<int64_t> Size(const std::string& job_id) const;
  // What is there from `offset` on, at most `max_bytes`; nothing past the end.
  absl::StatusOr<std::string> Read(const std::string& job_id, int64_t offset,
                                   int64_t max_bytes) const;
  bool HasWriter(const std::string& job_id) const;

  // `listener` is called (on some thread, must not block) after the log has
  // grown, and when its last writer is gone. After Unsubscribe returns it is
  // not called any more.
  uint64_t Subscribe(const std::string& job_id, std::function<void()> listener);
  void Unsubscribe(uint64_t handle);

  absl::Status Remove(const std::string& job_id);
  // Jobs that have a log.
  absl::StatusOr<std::vector<std::string>> Ids() const;

 private:
  // A log that somebody writes.
  struct Active {
    std::optional<File> file;  // nothing: it can't be opened
    int64_t size_bytes = 0;
    int writers = 0;
  };
  struct Listener {
    std::string job_id;
    std::function<void()> call;
  };

  JobLogs(std::string directory, const JobLogsOptions& options)
      : directory_(std::move(directory)), options_(options) {}
  std::string PathOf(const std::string& job_id) const;
  void Enter(const JobLogSubject& subject);
  void Leave(const std::string& job_id);
  void Append(const std::string& job_id, LogLevel level, std::string line);
  void AppendLocked(Active& log, std::string line);
  void OpenLocked(const JobLogSubject& subject, Active& log);
  void Notify(const std::string& job_id);

  const std::string directory_;
  const JobLogsOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, Active> active_;
  std::mutex listeners_mutex_;  // after mutex_, and held while calling
  std::map<uint64_t, Listener> listeners_;
  uint64_t next_handle_ = 1;
};

}  // namespace quant

#endif  // QUANT_SERVER_STORE_JOB_LOGS_H_

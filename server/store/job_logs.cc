#include "server/store/job_logs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "server/store/store_id.h"

namespace quant {
namespace {

absl::Status NoLog(const std::string& job_id) {
  return MakeError(absl::StatusCode::kNotFound, Reason::kJobNotFound,
                   absl::StrCat("jobs/", job_id, ": no such job"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobLogs>> JobLogs::Open(
    const std::string& root, const JobLogsOptions& options) {
  const std::string directory = JoinPath(root, "logs");
  QUANT_RETURN_IF_ERROR(MakeDirectories(directory));
  return std::unique_ptr<JobLogs>(new JobLogs(directory, options));
}

JobLogs::Writer::Writer(JobLogs& logs, JobLogSubject subject)
    : logs_(logs), subject_(std::move(subject)) {
  logs_.Enter(subject_);
}

JobLogs::Writer::~Writer() { logs_.Leave(subject_.job_id); }

std::vector<LogField> JobLogs::Writer::WithSubject(
    absl::Span<const LogField> fields) const {
  std::vector<LogField> all = {{"job", subject_.job_id}};
  if (subject_.attempt > 0) all.emplace_back("attempt", subject_.attempt);
  if (!subject_.trace_id.empty()) {
    all.emplace_back("trace_id", subject_.trace_id);
  }
  all.insert(all.end(), fields.begin(), fields.end());
  return all;
}

void JobLogs::Writer::Write(LogLevel level, absl::string_view event,
                            std::initializer_list<LogField> fields) {
  Note(level, event, fields);
  Log(level, event,
      WithSubject(absl::MakeConstSpan(fields.begin(), fields.size())));
}

void JobLogs::Writer::Note(LogLevel level, absl::string_view event,
                           absl::Span<const LogField> fields) {
  const int64_t now = logs_.options_.clock->NowMicros();
  logs_.Append(subject_.job_id, level,
               FormatLogLine(LogFormat::kJson, now, level, event,
                             WithSubject(fields)));
}

std::string JobLogs::PathOf(const std::string& job_id) const {
  return JoinPath(directory_, job_id);
}

void JobLogs::Enter(const JobLogSubject& subject) {
  {
    std::lock_guard lock(mutex_);
    Active& log = active_[subject.job_id];
    if (++log.writers > 1) return;
    OpenLocked(subject, log);
  }
  Notify(subject.job_id);
}

void JobLogs::OpenLocked(const JobLogSubject& subject, Active& log) {
  if (!IsStoreId(subject.job_id)) return;
  absl::StatusOr<File> file = File::OpenAppend(PathOf(subject.job_id));
  if (!file.ok()) return;
  log.size_bytes = file->Size().value_or(0);
  log.file = *std::move(file);
  if (log.size_bytes == 0) {
    const LogField fields[] = {{"job", subject.job_id},
                               {"trace_id", subject.trace_id},
                               {"principal", subject.principal}};
    AppendLocked(log, FormatLogLine(LogFormat::kJson, subject.create_time,
                                    LogLevel::kInfo, "job_created", fields));
    return;
  }
  // A crash may have cut the last line.
  uint8_t last = 0;
  const auto tail = Read(subject.job_id, log.size_bytes - 1, 1);
  if (tail.ok() && !tail->empty()) last = static_cast<uint8_t>(tail->back());
  if (last != '\n') AppendLocked(log, "");
}

void JobLogs::Leave(const std::string& job_id) {
  {
    std::lock_guard lock(mutex_);
    const auto it = active_.find(job_id);
    if (--it->second.writers > 0) return;
    active_.erase(it);
  }
  Notify(job_id);
}

void JobLogs::Append(const std::string& job_id, LogLevel level,
                     std::string line) {
  {
    std::lock_guard lock(mutex_);
    Active& log = active_.at(job_id);
    const int64_t most = options_.max_bytes;
    if (log.size_bytes < most) {
      AppendLocked(log, std::move(line));
      if (log.size_bytes >= most) {
        AppendLocked(log, FormatLogLine(LogFormat::kJson,
                                        options_.clock->NowMicros(),
                                        LogLevel::kWarning, "log_is_full", {}));
      }
    } else if (level >= LogLevel::kWarning &&
               log.size_bytes < most + most / 16) {
      AppendLocked(log, std::move(line));
    }
  }
  Notify(job_id);
}

void JobLogs::AppendLocked(Active& log, std::string line) {
  if (!log.file) return;
  line += '\n';
  log.file->Append(line).IgnoreError();
  // A full disk may have taken a part of it.
  log.size_bytes = log.file->Size().value_or(log.size_bytes);
}

absl::StatusOr<int64_t> JobLogs::Size(const std::string& job_id) const {
  if (!IsStoreId(job_id)) return NoLog(job_id);
  const absl::StatusOr<FileIdentity> found = IdentityOf(PathOf(job_id));
  if (absl::IsNotFound(found.status())) return 0;
  if (!found.ok()) return found.status();
  return found->size_bytes;
}

absl::StatusOr<std::string> JobLogs::Read(const std::string& job_id,
                                          int64_t offset,
                                          int64_t max_bytes) const {
  QUANT_ASSIGN_OR_RETURN(const int64_t size, Size(job_id));
  if (offset >= size) return std::string();
  std::string bytes(std::min(max_bytes, size - offset), '\0');
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(PathOf(job_id)));
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()),
                             bytes.size())));
  return bytes;
}

bool JobLogs::HasWriter(const std::string& job_id) const {
  std::lock_guard lock(mutex_);
  return active_.count(job_id) > 0;
}

uint64_t JobLogs::Subscribe(const std::string& job_id,
                            std::function<void()> listener) {
  std::lock_guard lock(listeners_mutex_);
  listeners_[next_handle_] = {job_id, std::move(listener)};
  return next_handle_++;
}

void JobLogs::Unsubscribe(uint64_t handle) {
  std::lock_guard lock(listeners_mutex_);
  listeners_.erase(handle);
}

void JobLogs::Notify(const std::string& job_id) {
  std::lock_guard lock(listeners_mutex_);
  for (const auto& [handle, listener] : listeners_) {
    if (listener.job_id == job_id) listener.call();
  }
}

absl::Status JobLogs::Remove(const std::string& job_id) {
  if (!IsStoreId(job_id)) return NoLog(job_id);
  return RemoveTree(PathOf(job_id));
}

absl::StatusOr<std::vector<std::string>> JobLogs::Ids() const {
  QUANT_ASSIGN_OR_RETURN(const auto entries, ListDirectory(directory_));
  std::vector<std::string> ids;
  for (const DirEntry& entry : entries) {
    if (IsStoreId(entry.name)) ids.push_back(entry.name);
  }
  return ids;
}

}  // namespace quant

#include "server/queue/table_job_store.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Times a row is read again because its attempt has ended meanwhile. Each needs
// another attempt to end between two lines of Get.
constexpr int kMostLooks = 8;

absl::Status Stopped() {
  return MakeError(absl::StatusCode::kUnavailable, Reason::kServerDraining,
                   "queue: it has stopped; try again when the server is back");
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> TableJobStore::Start(
    std::unique_ptr<JobTable> table, const QueueOptions& options,
    const Clock& clock) {
  std::unique_ptr<TableJobStore> store(
      new TableJobStore(std::move(table), options, clock));
  QUANT_ASSIGN_OR_RETURN(std::string newest,
                         store->table_->Load(store->index_));
  JobKey after = ParseJobKey(newest).value_or(JobKey());
  store->commands_ = std::make_unique<JobCommands>(
      *store->table_, store->index_, store->options_, clock, after);
  store->writer_ = std::thread([s = store.get()] { s->Run(); });
  return store;
}

TableJobStore::TableJobStore(std::unique_ptr<JobTable> table,
                             const QueueOptions& options, const Clock& clock)
    : options_(options),
      clock_(clock),
      index_(options.ageing_micros),
      table_(std::move(table)) {}

TableJobStore::~TableJobStore() { Stop(); }

void TableJobStore::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (writer_.joinable()) writer_.join();
  feed_.Stop();
}

absl::Status TableJobStore::CheckRunning() const {
  return stopping_ ? Stopped() : absl::OkStatus();
}

void TableJobStore::Submit(Command command) {
  {
    std::lock_guard lock(mutex_);
    if (!stopping_) {
      waiting_.push_back(std::move(command));
      wake_.notify_one();
      return;
    }
  }
  command.done(Stopped());
}

template <typename Answer>
void TableJobStore::SubmitFor(
    std::function<absl::StatusOr<Answer>(JobCommands&)> run,
    std::function<void(absl::StatusOr<Answer>)> done) {
  // Shared by the two halves of a command, of which the first may run twice.
  auto answer = std::make_shared<Answer>();
  Submit({.run = [answer,
                  run = std::move(run)](JobCommands& commands) -> absl::Status {
            QUANT_ASSIGN_OR_RETURN(*answer, run(commands));
            return absl::OkStatus();
          },
          .done =
              [answer, done = std::move(done)](absl::Status status) {
                if (!status.ok()) return done(std::move(status));
                done(std::move(*answer));
              }});
}

void TableJobStore::Enqueue(EnqueueRequest request, JobCallback done) {
  SubmitJob([request = std::move(request)](
                JobCommands& c) { return c.Enqueue(request); },
            std::move(done));
}

void TableJobStore::RequestCancel(const std::string& id,
                                  const std::string& etag, JobCallback done) {
  SubmitJob([=](JobCommands& c) { return c.RequestCancel(id, etag); },
            std::move(done));
}

void TableJobStore::Retry(const std::string& id, const std::string& etag,
                          int64_t max_open_jobs, JobCallback done) {
  SubmitJob([=](JobCommands& c) { return c.Retry(id, etag, max_open_jobs); },
            std::move(done));
}

void TableJobStore::Delete(const std::string& id, const std::string& etag,
                           JobCallback done) {
  SubmitJob([=](JobCommands& c) { return c.Delete(id, etag); },
            std::move(done));
}

void TableJobStore::Claim(const std::string& owner, JobCallback done) {
  SubmitJob([=](JobCommands& c) { return c.Claim(owner); }, std::move(done));
}

void TableJobStore::Heartbeat(const std::string& id, const std::string& token,
                              JobCallback done) {
  SubmitJob([=](JobCommands& c) { return c.Heartbeat(id, token); },
            std::move(done));
}

void TableJobStore::Finish(FinishRequest request, JobCallback done) {
  SubmitJob([request = std::move(request)](
                JobCommands& c) { return c.Finish(request); },
            std::move(done));
}

absl::StatusOr<int64_t> TableJobStore::EndLeases(
    Cause cause, std::function<bool(const std::string&, int64_t)> match) {
  auto ended = std::make_shared<int64_t>(0);
  std::promise<absl::Status> answered;
  Submit({.run = [=](JobCommands& commands) -> absl::Status {
            QUANT_ASSIGN_OR_RETURN(*ended, commands.EndLeases(cause, match));
            return absl::OkStatus();
          },
          .done =
              [&](absl::Status status) {
                answered.set_value(std::move(status));
              }});
  QUANT_RETURN_IF_ERROR(answered.get_future().get());
  return *ended;
}

absl::StatusOr<int64_t> TableJobStore::ReleaseOwner(const std::string& owner) {
  return EndLeases(
      Cause::kOwnerLost,
      [owner](const std::string& holder, int64_t) { return holder == owner; });
}

absl::StatusOr<int64_t> TableJobStore::ReleaseAllBut(const std::string& owner) {
  return EndLeases(
      Cause::kOwnerLost,
      [owner](const std::string& holder, int64_t) { return holder != owner; });
}

absl::StatusOr<int64_t> TableJobStore::ExpireLeases() {
  return EndLeases(
      Cause::kLeaseExpired,
      [now = clock_.NowMicros()](const std::string&, int64_t until) {
        return until <= now;
      });
}

absl::StatusOr<JobRecord> TableJobStore::Get(const std::string& id) {
  QUANT_RETURN_IF_ERROR(CheckRunning());
  for (int looks = 1;; ++looks) {
    QUANT_ASSIGN_OR_RETURN(std::optional<JobRecord> job, table_->Get(id));
    if (!job) {
      return MakeError(absl::StatusCode::kNotFound, Reason::kJobNotFound,
                       absl::StrCat("jobs/", id, ": there is no such job"));
    }
    // A row whose attempt has ended since it was read holds old progress; what
    // ended it is committed, so that the next look sees it.
    if (index_.Overlay(*job) || looks == kMostLooks) return *std::move(job);
  }
}

absl::StatusOr<std::vector<JobRecord>> TableJobStore::List(
    const ListQuery& query) {
  QUANT_RETURN_IF_ERROR(CheckRunning());
  if (query.limit <= 0) return std::vector<JobRecord>();
  QUANT_ASSIGN_OR_RETURN(std::vector<JobRecord> jobs, table_->List(query));
  for (JobRecord& job : jobs) {
    if (index_.Overlay(job)) continue;
    absl::StatusOr<JobRecord> now = Get(job.id);
    if (now.ok()) job = *std::move(now);
  }
  return jobs;
}

absl::StatusOr<std::optional<std::vector<JobEvent>>> TableJobStore::Events(
    const std::string& id, int64_t after, int limit) {
  QUANT_RETURN_IF_ERROR(CheckRunning());
  if (after < 0) {
    return InvalidSpec(absl::StrCat("after_sequence: ", after,
                                    "; 0 or a sequence that was seen"),
                       "after_sequence");
  }
  QUANT_ASSIGN_OR_RETURN(std::optional<JobTable::EventPage> page,
                         table_->Events(id, after, std::max(limit, 1)));
  if (!page) {
    return MakeError(absl::StatusCode::kNotFound, Reason::kJobNotFound,
                     absl::StrCat("jobs/", id, ": there is no such job"));
  }
  if (after > page->latest) {
    return MakeError(
        absl::StatusCode::kOutOfRange, Reason::kSequenceInFuture,
        absl::StrCat("jobs/", id, ": after_sequence ", after,
                     " is newer than the latest event, ", page->latest),
        "after_sequence");
  }
  bool compacted =
      after < page->latest &&
      (page->events.empty() || page->events[0].sequence != after + 1);
  if (compacted) return std::nullopt;
  if (limit <= 0) page->events.clear();
  return std::move(page->events);
}

absl::StatusOr<QueuePlace> TableJobStore::Place(const std::string& id) {
  QUANT_RETURN_IF_ERROR(CheckRunning());
  std::optional<QueuePlace> place = index_.Place(id, clock_.NowMicros());
  if (!place) {
    return MakeError(absl::StatusCode::kNotFound, Reason::kJobNotFound,
                     absl::StrCat("jobs/", id, ": it does not wait"));
  }
  return *place;
}

void TableJobStore::SetMode(QueueMode mode, const std::string& principal,
                            ControlCallback done) {
  SubmitFor<QueueControl>(
      [=](JobCommands& c) { return c.SetMode(mode, principal); },
      std::move(done));
}

absl::StatusOr<std::vector<JobRecord>> TableJobStore::Expired(
    const ExpiredQuery& query) {
  QUANT_RETURN_IF_ERROR(CheckRunning());
  const int64_t now = clock_.NowMicros();
  const int64_t ended_by = query.retention == 0 ? 0 : now - query.retention;
  return table_->Expired(now, ended_by, query);
}

int64_t QueueStats::OldestCreateTime() const {
  int64_t oldest = 0;
  for (const auto& [priority, jobs] : waiting) {
    const int64_t time = jobs.oldest_create_time;
    oldest = oldest == 0 ? time : std::min(oldest, time);
  }
  return oldest;
}

QueueStats TableJobStore::Stats() {
  QueueStats stats;
  stats.jobs = index_.Counts();
  stats.waiting = index_.Waiting();
  stats.mean_attempt_micros = index_.MeanAttemptMicros();
  stats.commits = commits_;
  stats.commands = committed_commands_;
  stats.repeats = repeats_;
  stats.fenced = fenced_;
  return stats;
}

void TableJobStore::Progress(const std::string& id, const std::string& token,
                             std::string progress) {
  if (!index_.SetProgress(id, token, progress)) return;
  feed_.NotifyProgress(id, std::move(progress));
  std::lock_guard lock(mutex_);
  if (std::exchange(progress_waits_, true)) return;
  wake_.notify_one();
}

uint64_t TableJobStore::Subscribe(const std::string& id,
                                  std::function<void(const Change&)> listener) {
  return feed_.Subscribe(id, std::move(listener));
}

void TableJobStore::Unsubscribe(uint64_t handle) { feed_.Unsubscribe(handle); }

void TableJobStore::SetClaimableListener(std::function<void()> listener) {
  feed_.SetClaimableListener(std::move(listener));
}

}  // namespace quant

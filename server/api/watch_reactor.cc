#include "server/api/watch_reactor.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "server/api/job_proto.h"
#include "server/api/names.h"
#include "server/api/ownership.h"
#include "server/api/write_stream.h"

namespace quant {
namespace {

using Response = v1::WatchJobResponse;

constexpr CallInfo kWatchJob = {"quant.v1.JobService/WatchJob", Lane::kIo,
                                WhileDraining::kRefused};

// Durable events held for a watcher; more are read when these are written.
constexpr int kMaxPending = 64;

// What a watcher costs is bounded: at most kMaxPending events and the latest
// progress. Durable events are not queued but read from the store by sequence.
//
//   opening -> following -> ended
//
// One write is in flight, one read of the store at a time. Whatever happens
// (change, write done, tick) sets a flag and calls PumpLocked.
class WatchStream final : public WriteStream<Response>,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream(const ApiEnv& env, grpc::CallbackServerContext* context,
              const v1::WatchJobRequest& request)
      : WriteStream(env, kWatchJob, context),
        name_(request.name()),
        cursor_(request.after_sequence()),
        start_(env.clock.MonotonicMicros()) {
    env_.metrics.watch.Opened();
  }

 private:
  void Begin() override;
  void TickLocked(int64_t now) override;
  void EndedLocked(const absl::Status& status) override;
  void Released() override;
  void OnChange(const JobStore::Change& change);

  // Steps on the executor.
  void Open();
  void ReadSnapshot(bool resync);
  void ReadEvents();
  void CheckSlowness();
  // Takes what a step has read. `more`: read again when it is written.
  void Deliver(std::deque<Response> responses, int64_t cursor, bool more);

  void PumpLocked() override;
  void WriteLocked(Response response);
  Response UnsequencedLocked(Response::Kind kind) const;
  Response HeartbeatLocked() const;

  const std::string name_;
  std::string id_;
  uint64_t subscription_ = 0;  // under mutex_
  int64_t cursor_;             // latest durable sequence read
  bool opened_ = false;        // the first read was delivered
  bool reading_ = true;        // a step is on the executor
  bool dirty_ = false;         // durable changes after cursor_
  std::deque<Response> pending_;
  std::optional<std::string> progress_;  // serialized v1::Progress
  bool heartbeat_due_ = false;
  bool changed_since_write_ = false;
  bool checking_ = false;
  const int64_t start_;
};

void WatchStream::Begin() {
  absl::StatusOr<std::string> id = ParseJobName(name_);
  if (!id.ok()) return End(id.status());
  id_ = *std::move(id);
  if (cursor_ < 0) {
    return End(InvalidSpec(
        absl::StrCat("after_sequence is ", cursor_, "; it can't be negative"),
        "after_sequence"));
  }
  auto self = shared_from_this();
  absl::Status queued = env_.io.Submit([self] { self->Open(); });
  if (!queued.ok()) End(queued);
}

void WatchStream::Open() {
  if (!caller().sees_all()) {
    const absl::StatusOr<JobRecord> job = FindJob(env_, caller(), id_);
    if (!job.ok()) return End(job.status());
  }
  // Before the first read, so that no change falls in between.
  const uint64_t handle = env_.jobs.Subscribe(
      id_, [weak = weak_from_this()](const JobStore::Change& change) {
        if (auto self = weak.lock()) self->OnChange(change);
      });
  bool late = false;
  {
    std::lock_guard lock(mutex_);
    late = done_;
    if (!late) subscription_ = handle;
  }
  if (late) return env_.jobs.Unsubscribe(handle);
  if (cursor_ == 0) {
    ReadSnapshot(/*resync=*/false);
  } else {
    ReadEvents();
  }
}

void WatchStream::ReadSnapshot(bool resync) {
  absl::StatusOr<JobRecord> record = env_.jobs.Get(id_);
  if (!record.ok()) return End(record.status());
  std::deque<Response> out(1);
  out[0].set_kind(Response::SNAPSHOT);
  out[0].set_sequence(record->event_sequence);
  out[0].set_resync(resync);
  *out[0].mutable_time() = ToTimestamp(env_.clock.NowMicros());
  *out[0].mutable_job() = DescribeJob(env_, *record);
  if (IsTerminal(record->state)) {
    out.push_back(out[0]);
    out[1].set_kind(Response::FINAL);
    out[1].set_resync(false);
  }
  Deliver(std::move(out), record->event_sequence, /*more=*/false);
}

void WatchStream::ReadEvents() {
  int64_t cursor = 0;
  {
    std::lock_guard lock(mutex_);
    cursor = cursor_;
    dirty_ = false;
  }
  auto events = env_.jobs.Events(id_, cursor, kMaxPending);
  if (!events.ok()) return End(events.status());
  if (!events->has_value()) return ReadSnapshot(/*resync=*/true);
  std::deque<Response> out;
  for (const JobEvent& event : **events) {
    out.push_back(EventToProto(event));
    cursor = event.sequence;
  }
  if (out.size() == kMaxPending) {
    return Deliver(std::move(out), cursor, /*more=*/true);
  }
  absl::StatusOr<JobRecord> record = env_.jobs.Get(id_);
  if (!record.ok()) return End(record.status());
  const bool more = record->event_sequence > cursor;
  if (!more && IsTerminal(record->state)) {
    Response& last = out.emplace_back();
    last.set_kind(Response::FINAL);
    last.set_sequence(cursor);
    *last.mutable_time() = ToTimestamp(env_.clock.NowMicros());
    *last.mutable_job() = DescribeJob(env_, *record);
  }
  Deliver(std::move(out), cursor, more);
}

void WatchStream::Deliver(std::deque<Response> responses, int64_t cursor,
                          bool more) {
  std::lock_guard lock(mutex_);
  reading_ = false;
  cursor_ = cursor;
  dirty_ = dirty_ || more;
  // A replay of nothing shows at once that the stream stands.
  if (!opened_ && responses.empty()) heartbeat_due_ = true;
  opened_ = true;
  for (Response& response : responses) {
    pending_.push_back(std::move(response));
  }
  PumpLocked();
}

void WatchStream::OnChange(const JobStore::Change& change) {
  std::lock_guard lock(mutex_);
  if (change.durable) {
    dirty_ = true;
    changed_since_write_ = true;
    // It may be of an attempt that is over.
    progress_.reset();
  } else {
    progress_ = change.progress;
  }
  PumpLocked();
}

void WatchStream::PumpLocked() {
  if (ended_ || writing_ || !opened_) return;
  if (!pending_.empty()) {
    Response next = std::move(pending_.front());
    pending_.pop_front();
    return WriteLocked(std::move(next));
  }
  if (dirty_) {
    if (reading_) return;
    reading_ = true;
    return Continue([this] { ReadEvents(); });
  }
  if (progress_) {
    Response next = UnsequencedLocked(Response::PROGRESS);
    next.mutable_progress()->ParseFromString(*progress_);
    progress_.reset();
    return WriteLocked(std::move(next));
  }
  if (heartbeat_due_) WriteLocked(HeartbeatLocked());
}

void WatchStream::WriteLocked(Response response) {
  current_ = std::move(response);
  heartbeat_due_ = false;
  changed_since_write_ = false;
  if (current_.kind() == Response::FINAL) {
    // One operation: OK can't overtake FINAL, nor come without it.
    return StartWriteAndFinish(&current_, grpc::WriteOptions(),
                               EndedWithLocked(absl::OkStatus()));
  }
  StartWriteLocked();
}

Response WatchStream::UnsequencedLocked(Response::Kind kind) const {
  Response out;
  out.set_kind(kind);
  out.set_sequence(cursor_);
  *out.mutable_time() = ToTimestamp(env_.clock.NowMicros());
  return out;
}

Response WatchStream::HeartbeatLocked() const {
  Response out = UnsequencedLocked(Response::HEARTBEAT);
  if (auto queue = QueueInfoOf(env_.jobs, id_)) {
    *out.mutable_queue() = *std::move(queue);
  }
  return out;
}

void WatchStream::TickLocked(int64_t now) {
  if (now - start_ > env_.options.watch_max_age_micros) {
    return EndLocked(MakeError(absl::StatusCode::kUnavailable,
                               Reason::kStreamRecycled,
                               "the stream is old; reattach with the last "
                               "sequence seen"));
  }
  if (writing_) {
    if (now - last_write_ > env_.options.slow_consumer_micros &&
        changed_since_write_ && !checking_) {
      checking_ = true;
      Continue([this] { CheckSlowness(); });
    }
    return;
  }
  if (now - last_write_ >= env_.options.heartbeat_micros) {
    heartbeat_due_ = true;
    PumpLocked();
  }
}

void WatchStream::CheckSlowness() {
  absl::StatusOr<JobRecord> record = env_.jobs.Get(id_);
  std::lock_guard lock(mutex_);
  checking_ = false;
  // Not again before the next change.
  changed_since_write_ = false;
  if (!record.ok() || !writing_) return;
  const int64_t waiting =
      record->event_sequence - cursor_ + static_cast<int64_t>(pending_.size());
  if (waiting <= kMaxPending) return;
  EndLocked(
      MakeError(absl::StatusCode::kUnavailable, Reason::kSlowConsumer,
                absl::StrCat(waiting,
                             " events wait and the reader takes none; reattach "
                             "with the last sequence seen")));
}

void WatchStream::EndedLocked(const absl::Status& status) {
  env_.metrics.watch.Closed(
      status.ok() ? "final"
                  : absl::AsciiStrToLower(ReasonName(GetReason(status))));
}

void WatchStream::Released() {
  uint64_t handle = 0;
  {
    std::lock_guard lock(mutex_);
    std::swap(handle, subscription_);
  }
  if (handle != 0) env_.jobs.Unsubscribe(handle);
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchJobResponse>* StartWatch(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    const v1::WatchJobRequest& request) {
  return WatchStream::Launch(
      std::make_shared<WatchStream>(env, context, request));
}

v1::Job DescribeJob(const ApiEnv& env, const JobRecord& record) {
  v1::Job job = JobToProto(record);
  const std::atomic<int64_t>* kept = env.options.retention_micros;
  const int64_t retention = kept == nullptr ? 0 : kept->load();
  if (record.expire_time != 0) {
    *job.mutable_expire_time() = ToTimestamp(record.expire_time);
  } else if (record.end_time != 0 && retention != 0) {
    *job.mutable_expire_time() = ToTimestamp(record.end_time + retention);
  }
  if (record.state != JobState::kQueued) return job;
  // It may have been claimed meanwhile.
  if (auto queue = QueueInfoOf(env.jobs, record.id)) {
    *job.mutable_queue() = *std::move(queue);
  }
  return job;
}

}  // namespace quant

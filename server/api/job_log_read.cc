// ByteStream.Read of a job's log: what is there, and then what comes, until the
// job has ended.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "google/bytestream/bytestream.pb.h"
#include "server/api/byte_stream_reactors.h"
#include "server/api/job_log.h"
#include "server/api/names.h"
#include "server/api/ownership.h"
#include "server/api/write_stream.h"

namespace quant {
namespace {

using google::bytestream::ReadRequest;
using google::bytestream::ReadResponse;

constexpr CallInfo kRead = {"google.bytestream.ByteStream/Read"};
constexpr int64_t kChunkBytes = 64 << 10;

grpc::ByteBuffer MessageOf(std::string data) {
  ReadResponse response;
  response.set_data(std::move(data));
  const grpc::Slice slice(response.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status OutOfRange(absl::string_view message, absl::string_view field) {
  return MakeError(absl::StatusCode::kOutOfRange, Reason::kOffsetInvalid,
                   message, field);
}

// One write in flight, one step on the executor at a time; a change of the log
// or of the job asks for another.
class LogStream final : public WriteStream<grpc::ByteBuffer>,
                        public std::enable_shared_from_this<LogStream> {
 public:
  LogStream(const ApiEnv& env, grpc::CallbackServerContext* context,
            const ReadRequest& request)
      : WriteStream(env, kRead, context),
        request_(request),
        next_(request.read_offset()),
        start_(env.clock.MonotonicMicros()) {}

 private:
  void Begin() override {
    absl::Status queued = env_.io.Submit([this, keep = self_] {
      if (absl::Status status = TryOpen(); !status.ok()) return End(status);
      Step();
    });
    if (!queued.ok()) End(queued);
  }

  absl::Status TryOpen() {
    QUANT_ASSIGN_OR_RETURN(id_, ParseJobLogName(request_.resource_name()));
    QUANT_RETURN_IF_ERROR(FindJob(env_, caller(), id_).status());
    if (next_ < 0) {
      return OutOfRange(absl::StrCat("read_offset is ", next_), "read_offset");
    }
    if (request_.read_limit() < 0) {
      return OutOfRange(absl::StrCat("read_limit is ", request_.read_limit()),
                        "read_limit");
    }
    left_ = request_.read_limit() == 0 ? INT64_MAX : request_.read_limit();
    Subscribe();
    return absl::OkStatus();
  }

  // Before the first read, so that no change falls in between.
  void Subscribe() {
    const auto changed = [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->OnChange();
    };
    const uint64_t log = env_.logs.Subscribe(id_, changed);
    const uint64_t job =
        env_.jobs.Subscribe(id_, [changed](const JobStore::Change& change) {
          if (change.durable) changed();
        });
    bool late = false;
    {
      std::lock_guard lock(mutex_);
      late = done_;
      if (!late) log_subscription_ = log;
      if (!late) job_subscription_ = job;
    }
    if (late) Unsubscribe(log, job);
  }

  void Unsubscribe(uint64_t log, uint64_t job) {
    if (log != 0) env_.logs.Unsubscribe(log);
    if (job != 0) env_.jobs.Unsubscribe(job);
  }

  void OnChange() {
    std::lock_guard lock(mutex_);
    dirty_ = true;
    PumpLocked();
  }

  // On the executor.
  void Step() {
    {
      std::lock_guard lock(mutex_);
      dirty_ = false;
    }
    const auto complete = IsLogComplete(env_, id_);
    if (!complete.ok()) return End(complete.status());
    auto bytes = env_.logs.Read(id_, next_, std::min(left_, kChunkBytes));
    if (!bytes.ok()) return End(bytes.status());
    if (bytes->empty() && *complete) return End(AtTheEnd());
    next_ += static_cast<int64_t>(bytes->size());
    left_ -= static_cast<int64_t>(bytes->size());
    std::lock_guard lock(mutex_);
    stepping_ = false;
    if (!bytes->empty()) {
      data_ = *std::move(bytes);
      dirty_ = true;  // there may be more
    }
    PumpLocked();
  }

  absl::Status AtTheEnd() const {
    const int64_t size = env_.logs.Size(id_).value_or(0);
    if (next_ <= size) return absl::OkStatus();
    return OutOfRange(
        absl::StrCat("read_offset is ", next_, "; expected 0..", size),
        "read_offset");
  }

  void PumpLocked() override {
    if (ended_ || writing_ || stepping_) return;
    if (!data_.empty()) return WriteLocked(std::exchange(data_, {}));
    if (left_ == 0) return EndLocked(absl::OkStatus());
    if (!dirty_) return;
    stepping_ = true;
    Continue([this] { Step(); });
  }

  void WriteLocked(std::string data) {
    current_ = MessageOf(std::move(data));
    StartWriteLocked();
  }

  void TickLocked(int64_t now) override {
    if (now - start_ > env_.options.watch_max_age_micros) {
      return EndLocked(MakeError(absl::StatusCode::kUnavailable,
                                 Reason::kStreamRecycled,
                                 "the stream is old; read on from where it "
                                 "stands"));
    }
    if (EndIfStalledLocked(now)) return;
    if (!writing_ && now - last_write_ >= env_.options.heartbeat_micros) {
      WriteLocked("");
    }
  }

  void Released() override {
    uint64_t log = 0, job = 0;
    {
      std::lock_guard lock(mutex_);
      std::swap(log, log_subscription_);
      std::swap(job, job_subscription_);
    }
    Unsubscribe(log, job);
  }

  const ReadRequest request_;
  std::string id_;
  // The step's, while stepping_; else under mutex_.
  int64_t next_;      // of the log, not yet read
  int64_t left_ = 0;  // of the limit
  // Under mutex_.
  std::string data_;  // read and not yet on its way
  bool stepping_ = true;
  bool dirty_ = false;
  uint64_t log_subscription_ = 0;
  uint64_t job_subscription_ = 0;
  const int64_t start_;
};

}  // namespace

absl::StatusOr<bool> IsLogComplete(const ApiEnv& env, const std::string& id) {
  // In this order: who ends a job has a writer until all is said.
  QUANT_ASSIGN_OR_RETURN(const JobRecord job, env.jobs.Get(id));
  return IsTerminal(job.state) && !env.logs.HasWriter(id);
}

JobLogSubject LogSubjectOf(const JobRecord& job) {
  return {.job_id = job.id,
          .create_time = job.create_time,
          .principal = job.owner.principal,
          .trace_id = TraceIdOf(job)};
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartJobLogRead(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    const ReadRequest& request) {
  return LogStream::Launch(std::make_shared<LogStream>(env, context, request));
}

}  // namespace quant

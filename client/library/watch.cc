#include "client/library/watch.h"

#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/library/channel.h"
#include "client/library/errors.h"
#include "client/library/retry.h"
#include "client/library/stream_guard.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "quant/v1/job_service.grpc.pb.h"

namespace quant {
namespace {

using v1::WatchJobResponse;

// A stream is recycled by this side after an hour: no call without a deadline.
constexpr std::chrono::hours kStreamDeadline{1};

bool IsDurable(WatchJobResponse::Kind kind) {
  return kind == WatchJobResponse::STATE || kind == WatchJobResponse::ATTEMPT ||
         kind == WatchJobResponse::GATE || kind == WatchJobResponse::ARTIFACT;
}

// Follows one job over as many streams as it takes.
class Watcher {
 public:
  Watcher(Client& client, const std::string& name, const WatchOptions& options,
          const WatchCallback& callback)
      : client_(client),
        name_(name),
        options_(options),
        callback_(callback),
        stub_(v1::JobService::NewStub(client.channel())),
        budget_(client.options().retry_for),
        sequence_(options.after_sequence) {}

  absl::StatusOr<v1::Job> Run() {
    while (true) {
      const absl::Status status = RunStream();
      if (final_) return *std::move(final_);
      if (options_.stop.stop_requested()) return Stopped();
      QUANT_RETURN_IF_ERROR(Recover(status));
    }
  }

 private:
  static absl::Status Stopped() {
    return MakeError(absl::StatusCode::kCancelled, Reason::kCancelled,
                     "stopped by the caller");
  }

  // OK: open another stream. Else the error that ends the watch.
  absl::Status Recover(const absl::Status& status) {
    if (absl::IsOutOfRange(status) && sequence_ > 0) {
      sequence_ = 0;
      return absl::OkStatus();
    }
    // CANCELLED without a stop is the guard's doing: the stream was silent.
    // DEADLINE_EXCEEDED is that of the stream, or of a proxy in between: only a
    // budget keeps a hasty one from being asked in a loop.
    const bool cut = status.ok() || IsTransient(status) ||
                     absl::IsCancelled(status) || absl::IsAborted(status) ||
                     absl::IsDeadlineExceeded(status);
    if (!cut) return status;
    if (absl::IsCancelled(status)) {
      QUANT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                             OpenChannel(client_.target(), client_.options()));
      stub_ = v1::JobService::NewStub(channel);
    }
    const absl::Status error =
        IsTransient(status)
            ? status
            : absl::UnavailableError(
                  absl::StrCat("server ", client_.target(), ": the watch of ",
                               name_, " was cut: ", status.message()));
    return budget_.Wait(error, options_.stop);
  }

  // One stream, from its opening to its status.
  absl::Status RunStream() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kStreamDeadline);
    v1::WatchJobRequest request;
    request.set_name(name_);
    request.set_after_sequence(sequence_);
    StreamGuard guard(&context, options_.silence, options_.stop);
    auto reader = stub_->WatchJob(&context, request);
    WatchJobResponse message;
    while (reader->Read(&message)) {
      guard.Touch();
      budget_.Reset();
      Take(message);
    }
    return StatusFromGrpc(reader->Finish(), client_.target());
  }

  void Take(const WatchJobResponse& message) {
    const bool durable = IsDurable(message.kind());
    if (durable && message.sequence() <= sequence_) return;
    if (durable || message.kind() == WatchJobResponse::SNAPSHOT) {
      sequence_ = message.sequence();
    }
    if (message.kind() == WatchJobResponse::FINAL) final_ = message.job();
    const bool news =
        message.kind() != WatchJobResponse::HEARTBEAT || message.has_queue();
    if (callback_ && news) {
      callback_(message);
    }
  }

  Client& client_;
  const std::string name_;
  const WatchOptions& options_;
  const WatchCallback& callback_;
  std::unique_ptr<v1::JobService::Stub> stub_;
  RetryBudget budget_;
  int64_t sequence_;
  std::optional<v1::Job> final_;
};

}  // namespace

absl::StatusOr<v1::Job> Watch(Client& client, const std::string& name,
                              const WatchOptions& options,
                              const WatchCallback& callback) {
  return Watcher(client, name, options, callback).Run();
}

absl::StatusOr<v1::Job> Wait(Client& client, const std::string& name,
                             std::chrono::milliseconds timeout,
                             WatchOptions options,
                             const WatchCallback& callback) {
  const std::stop_token caller = options.stop;
  std::stop_source stop;
  std::stop_callback forward(caller, [&stop] { stop.request_stop(); });
  options.stop = stop.get_token();
  std::jthread timer([&stop, timeout](std::stop_token end) {
    if (SleepUnlessStopped(timeout, end)) stop.request_stop();
  });
  absl::StatusOr<v1::Job> job = Watch(client, name, options, callback);
  if (absl::IsCancelled(job.status()) && !caller.stop_requested()) {
    return absl::DeadlineExceededError(
        absl::StrCat(name, ": still not finished; it goes on"));
  }
  return job;
}

bool IsTerminal(v1::Job::State state) {
  return state == v1::Job::SUCCEEDED || state == v1::Job::FAILED ||
         state == v1::Job::CANCELLED;
}

}  // namespace quant

#include "client/library/job_log.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "client/library/channel.h"
#include "client/library/errors.h"
#include "client/library/retry.h"
#include "client/library/stream_guard.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "google/bytestream/bytestream.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace quant {
namespace {

using google::bytestream::ByteStream;

// No call without a deadline; a longer one is taken up where it was.
constexpr std::chrono::hours kStreamDeadline{1};

class LogReader {
 public:
  LogReader(Client& client, const std::string& job,
            const JobLogOptions& options,
            const std::function<void(absl::string_view)>& sink)
      : client_(client),
        stub_(ByteStream::NewStub(client.channel())),
        name_(absl::StrCat(job, "/log")),
        options_(options),
        sink_(sink),
        next_(options.offset) {}

  absl::StatusOr<int64_t> Run() {
    if (!options_.follow) {
      QUANT_ASSIGN_OR_RETURN(end_, Size());
      if (next_ >= end_) return end_;
    }
    RetryBudget budget(client_.options().retry_for);
    for (;;) {
      const int64_t before = next_;
      alive_ = false;
      const absl::Status status = Stream();
      if (status.ok()) return next_;
      if (options_.stop.stop_requested()) return Stopped();
      if (!MayGoOn(status)) return status;
      if (alive_ || next_ > before) budget.Reset();
      if (absl::IsCancelled(status)) QUANT_RETURN_IF_ERROR(Reconnect());
      QUANT_RETURN_IF_ERROR(budget.Wait(status, options_.stop));
    }
  }

 private:
  static absl::Status Stopped() {
    return MakeError(absl::StatusCode::kCancelled, Reason::kCancelled,
                     "reading the log was stopped");
  }

  // CANCELLED without a stop is the guard's doing: nothing came for too long.
  static bool MayGoOn(const absl::Status& status) {
    return IsTransient(status) || absl::IsCancelled(status) ||
           absl::IsDeadlineExceeded(status);
  }

  absl::StatusOr<int64_t> Size() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         client_.options().deadline);
    google::bytestream::QueryWriteStatusRequest request;
    request.set_resource_name(name_);
    google::bytestream::QueryWriteStatusResponse response;
    QUANT_RETURN_IF_ERROR(StatusFromGrpc(
        stub_->QueryWriteStatus(&context, request, &response),
        client_.target()));
    return response.committed_size();
  }

  absl::Status Stream() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kStreamDeadline);
    google::bytestream::ReadRequest request;
    request.set_resource_name(name_);
    request.set_read_offset(next_);
    if (!options_.follow) request.set_read_limit(end_ - next_);
    StreamGuard guard(&context, options_.silence, options_.stop);
    auto reader = stub_->Read(&context, request);
    google::bytestream::ReadResponse message;
    while (reader->Read(&message)) {
      guard.Touch();
      alive_ = true;
      next_ += static_cast<int64_t>(message.data().size());
      if (!message.data().empty()) sink_(message.data());
    }
    return StatusFromGrpc(reader->Finish(), client_.target());
  }

  absl::Status Reconnect() {
    QUANT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                           OpenChannel(client_.target(), client_.options()));
    stub_ = ByteStream::NewStub(channel);
    return absl::OkStatus();
  }

  Client& client_;
  std::unique_ptr<ByteStream::Stub> stub_;
  const std::string name_;
  const JobLogOptions& options_;
  const std::function<void(absl::string_view)>& sink_;
  int64_t next_;
  int64_t end_ = 0;     // unless follow
  bool alive_ = false;  // the stream said something
};

}  // namespace

absl::StatusOr<int64_t> ReadJobLog(
    Client& client, const std::string& job, const JobLogOptions& options,
    const std::function<void(absl::string_view)>& sink) {
  return LogReader(client, job, options, sink).Run();
}

}  // namespace quant

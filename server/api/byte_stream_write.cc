// ByteStream.Write: one message at a time, each stored before the next is read.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "server/api/byte_stream_reactors.h"
#include "server/api/names.h"
#include "server/api/ownership.h"
#include "server/api/stream_reactor.h"

namespace quant {
namespace {

using google::bytestream::WriteRequest;
using google::bytestream::WriteResponse;

constexpr CallInfo kWrite = {"google.bytestream.ByteStream/Write", Lane::kIo,
                             WhileDraining::kRefused};

// The store knows no requests: what it refuses came in `data`.
absl::Status OfData(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status) || !GetField(status).empty()) {
    return status;
  }
  return MakeError(status.code(), GetReason(status), status.message(), "data");
}

// The blob is committed when the client has closed its half after finish_write,
// so that data after finish_write is still an error. Bytes stored before an
// error or a disconnection stay, for a later stream to go on from.
class WriteStream final
    : public StreamReactor<grpc::ServerReadReactor<WriteRequest>> {
 public:
  WriteStream(const ApiEnv& env, grpc::CallbackServerContext* context,
              WriteResponse* response)
      : StreamReactor(env, kWrite, context), response_(response) {}

 private:
  void Begin() override {
    std::lock_guard lock(mutex_);
    ReadLocked();
  }

  void ReadLocked() {
    if (ended_) return;
    waiting_since_ = env_.clock.MonotonicMicros();
    waiting_ = true;
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    std::lock_guard lock(mutex_);
    waiting_ = false;
    if (ended_) return;
    Continue([this, ok] { ok ? Store() : HalfClosed(); });
  }

  // Steps on the executor, one at a time.
  void Store() {
    absl::Status status = Accept();
    if (!status.ok() || writer_->complete()) return Conclude(status);
    std::lock_guard lock(mutex_);
    ReadLocked();
  }

  absl::Status Accept() {
    QUANT_RETURN_IF_ERROR(CheckName());
    if (writer_->complete()) return absl::OkStatus();
    if (finish_seen_) {
      return InvalidSpec("a message came after finish_write", "finish_write");
    }
    if (request_.write_offset() != writer_->committed_size()) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, Reason::kOffsetInvalid,
          absl::StrCat("write_offset is ", request_.write_offset(), "; ",
                       writer_->committed_size(), " bytes are stored"),
          "write_offset");
    }
    const std::string& data = request_.data();
    QUANT_RETURN_IF_ERROR(OfData(writer_->Append(absl::MakeConstSpan(
        reinterpret_cast<const uint8_t*>(data.data()), data.size()))));
    env_.metrics.storage.Written(static_cast<int64_t>(data.size()));
    finish_seen_ = request_.finish_write();
    return absl::OkStatus();
  }

  absl::Status CheckName() {
    if (writer_ != nullptr) {
      if (request_.resource_name().empty() ||
          request_.resource_name() == name_) {
        return absl::OkStatus();
      }
      return InvalidSpec("resource_name changed within the stream",
                         "resource_name");
    }
    if (request_.resource_name().empty()) {
      return InvalidSpec("the first message must name the resource",
                         "resource_name");
    }
    QUANT_ASSIGN_OR_RETURN(BlobResource blob,
                           ParseBlobResource(request_.resource_name()));
    QUANT_RETURN_IF_ERROR(FindUpload(env_, caller(), blob.upload_id).status());
    name_ = request_.resource_name();
    // Its bytes are in the tenant's quota since they were declared.
    QUANT_ASSIGN_OR_RETURN(writer_,
                           env_.uploads.OpenBlob(blob.upload_id, blob.sha256));
    return absl::OkStatus();
  }

  void HalfClosed() {
    absl::Status status;
    if (writer_ == nullptr) {
      status = InvalidSpec("the stream has no message", "resource_name");
    } else if (finish_seen_) {
      status = OfData(writer_->Finish());
    }
    Conclude(status);
  }

  // Gives the blob free before it answers: the client's next call may be
  // another Write.
  void Conclude(const absl::Status& status) {
    const int64_t committed =
        writer_ == nullptr ? 0 : writer_->committed_size();
    writer_.reset();
    std::lock_guard lock(mutex_);
    // After the end the response may be gone.
    if (ended_) return;
    response_->set_committed_size(committed);
    EndLocked(status);
  }

  void TickLocked(int64_t now) override {
    if (waiting_ && now - waiting_since_ > env_.options.write_idle_micros) {
      EndLocked(MakeError(absl::StatusCode::kUnavailable,
                          Reason::kStreamRecycled,
                          "nothing came for too long; go on from the committed "
                          "size"));
    }
  }

  WriteResponse* const response_;
  WriteRequest request_;  // gRPC's while waiting_, else the step's
  // Used by one step at a time.
  std::unique_ptr<BlobWriter> writer_;
  std::string name_;
  bool finish_seen_ = false;
  // Under mutex_.
  bool waiting_ = false;
  int64_t waiting_since_ = 0;
};

}  // namespace

grpc::ServerReadReactor<WriteRequest>* StartByteStreamWrite(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    WriteResponse* response) {
  return WriteStream::Launch(
      std::make_shared<WriteStream>(env, context, response));
}

}  // namespace quant

// ByteStream.Read: one chunk on the wire while the next comes from the disk.
#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
// For the serialization of messages from byte buffers.
#include "google/bytestream/bytestream.grpc.pb.h"
#include "google/protobuf/io/coded_stream.h"
#include "server/api/byte_stream_reactors.h"
#include "server/api/job_log.h"
#include "server/api/names.h"
#include "server/api/ownership.h"
#include "server/api/write_stream.h"

namespace quant {
namespace {

using google::bytestream::ReadRequest;
using google::bytestream::ReadResponse;
using google::protobuf::io::CodedOutputStream;

constexpr CallInfo kRead = {"google.bytestream.ByteStream/Read"};
constexpr int64_t kChunkBytes = 1 << 20;

// A serialized ReadResponse with room for `size` bytes of data at `*data`.
grpc::ByteBuffer MakeMessage(int64_t size, uint8_t** data) {
  constexpr uint32_t kLengthDelimited = 2;
  const uint32_t tag = ReadResponse::kDataFieldNumber << 3 | kLengthDelimited;
  uint8_t header[16];
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(tag, header);
  end = CodedOutputStream::WriteVarint64ToArray(size, end);
  // Not grpc_slice_malloc: it keeps small sizes inside the slice itself.
  void* bytes = ::operator new(static_cast<size_t>(size));
  *data = static_cast<uint8_t*>(bytes);
  const grpc::Slice slices[] = {
      grpc::Slice(header, static_cast<size_t>(end - header)),
      grpc::Slice(bytes, static_cast<size_t>(size),
                  [](void* memory) { ::operator delete(memory); })};
  return grpc::ByteBuffer(slices, 2);
}

absl::Status OutOfRange(absl::string_view message, absl::string_view field) {
  return MakeError(absl::StatusCode::kOutOfRange, Reason::kOffsetInvalid,
                   message, field);
}

// A file that is read as a whole is checked against its digest on the way: the
// last chunk is held back until the digest is right. Once is enough while the
// file is not touched: clients check what they get.
class ReadStream final : public WriteStream<grpc::ByteBuffer> {
 public:
  // `readable`: whether the message was a ReadRequest.
  ReadStream(const ApiEnv& env, grpc::CallbackServerContext* context,
             const ReadRequest& request, bool readable)
      : WriteStream(env, kRead, context),
        request_(request),
        readable_(readable) {}

 private:
  void Begin() override {
    absl::Status queued = env_.io.Submit([this, keep = self_] { Open(); });
    if (!queued.ok()) End(queued);
  }

  void Open() {
    if (absl::Status status = TryOpen(); !status.ok()) return End(status);
    Fill();
  }

  absl::Status TryOpen() {
    if (!readable_) {
      return InvalidSpec("the message is not a ReadRequest", "resource_name");
    }
    QUANT_ASSIGN_OR_RETURN(FileResource file,
                           ParseFileResource(request_.resource_name()));
    QUANT_ASSIGN_OR_RETURN(const ArtifactRecord record,
                           FindArtifact(env_, caller(), file.artifact_id));
    QUANT_ASSIGN_OR_RETURN(reader_,
                           env_.artifacts.Open(file.artifact_id, file.path));
    const int64_t size = reader_->size_bytes();
    const int64_t offset = request_.read_offset();
    const int64_t limit = request_.read_limit();
    if (offset < 0 || offset > size) {
      return OutOfRange(
          absl::StrCat("read_offset is ", offset, "; expected 0..", size),
          "read_offset");
    }
    if (limit < 0) {
      return OutOfRange(
          absl::StrCat("read_limit is ", limit, "; it can't be negative"),
          "read_limit");
    }
    next_ = offset;
    end_ = limit == 0 ? size : offset + std::min(limit, size - offset);
    if (offset == 0 && end_ == size) ExpectDigest(record, file.path);
    return absl::OkStatus();
  }

  void ExpectDigest(const ArtifactRecord& record, const std::string& path) {
    if (reader_->verified()) return;
    for (const StoredFile& stored : record.files) {
      if (stored.path == path) expected_sha256_ = stored.sha256;
    }
    digest_.emplace();
  }

  // On the executor, one at a time.
  void Fill() {
    const int64_t size = std::min(kChunkBytes, end_ - next_);
    if (size > 0) {
      uint8_t* data = nullptr;
      spare_ = MakeMessage(size, &data);
      const auto bytes = absl::MakeSpan(data, static_cast<size_t>(size));
      absl::Status status = reader_->ReadAt(next_, bytes);
      if (!status.ok()) return End(status);
      env_.metrics.storage.Read(size);
      if (digest_) digest_->Update(absl::MakeConstSpan(bytes));
      next_ += size;
    }
    if (next_ == end_ && digest_) {
      if (digest_->Finish() != expected_sha256_) return End(Mismatch());
      reader_->MarkVerified();
    }
    std::lock_guard lock(mutex_);
    filled_ = size > 0;
    exhausted_ = next_ == end_;
    PumpLocked();
  }

  absl::Status Mismatch() const {
    return MakeError(
        absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
        absl::StrCat(request_.resource_name(),
                     ": the stored bytes don't match the artifact's digest"));
  }

  void PumpLocked() override {
    if (ended_ || writing_) return;
    if (filled_) {
      current_.Swap(&spare_);
      filled_ = false;
      StartWriteLocked();
      if (!exhausted_) Continue([this] { Fill(); });
    } else if (exhausted_) {
      EndLocked(absl::OkStatus());
    }
  }

  void TickLocked(int64_t now) override { EndIfStalledLocked(now); }

  const ReadRequest request_;
  const bool readable_;
  // Used by one step at a time.
  std::unique_ptr<ArtifactFileReader> reader_;
  int64_t next_ = 0;  // of the file, not yet read
  int64_t end_ = 0;
  std::optional<Sha256> digest_;
  std::string expected_sha256_;
  // The step's, until filled_; then under mutex_.
  grpc::ByteBuffer spare_;
  // Under mutex_.
  bool filled_ = false;
  bool exhausted_ = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartByteStreamRead(
    const ApiEnv& env, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer& message) {
  ReadRequest request;
  grpc::ByteBuffer bytes(message);
  const bool readable =
      grpc::SerializationTraits<ReadRequest>::Deserialize(&bytes, &request)
          .ok();
  if (readable && IsJobLogName(request.resource_name())) {
    return StartJobLogRead(env, context, request);
  }
  return ReadStream::Launch(
      std::make_shared<ReadStream>(env, context, request, readable));
}

}  // namespace quant

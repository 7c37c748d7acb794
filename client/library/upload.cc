#include "client/library/upload.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/library/channel.h"
#include "client/library/errors.h"
#include "client/library/retry.h"
#include "client/library/stream_guard.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "google/bytestream/bytestream.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "quant/v1/model.grpc.pb.h"

namespace quant {
namespace {

using google::bytestream::ByteStream;
using google::bytestream::QueryWriteStatusRequest;
using google::bytestream::QueryWriteStatusResponse;
using google::bytestream::WriteRequest;
using google::bytestream::WriteResponse;
using std::chrono::system_clock;

// No call without a deadline; a longer file is taken up where it was.
constexpr std::chrono::hours kStreamDeadline{1};
constexpr int64_t kChunkBytes = 1 << 20;
constexpr int64_t kProgressBytes = 16 << 20;

absl::Status Stopped() {
  return MakeError(absl::StatusCode::kCancelled, Reason::kCancelled,
                   "upload stopped; the same call takes it up again");
}

class Uploader {
 public:
  Uploader(Client& client, const TransferOptions& options)
      : client_(client),
        models_(client.channel()),
        bytes_(ByteStream::NewStub(client.channel())),
        options_(options) {}

  absl::StatusOr<UploadReport> Run(const std::vector<LocalFile>& files) {
    QUANT_RETURN_IF_ERROR(Declare(files));
    progress_.files_total = report_.upload.missing_size();
    for (const v1::UploadFile& file : report_.upload.missing()) {
      progress_.bytes_total += file.size_bytes();
    }
    for (const v1::UploadFile& file : report_.upload.missing()) {
      QUANT_RETURN_IF_ERROR(Send(file));
    }
    if (report_.upload.missing_size() > 0) QUANT_RETURN_IF_ERROR(CallCreate());
    if (!report_.upload.complete()) {
      return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                       absl::StrCat(report_.upload.name(),
                                    ": everything was sent, yet the server "
                                    "says that something is missing"));
    }
    return std::move(report_);
  }

 private:
  // Hashes every file and asks what is missing.
  absl::Status Declare(const std::vector<LocalFile>& files) {
    progress_.files_total = static_cast<int64_t>(files.size());
    for (const LocalFile& local : files) {
      if (options_.stop.stop_requested()) return Stopped();
      QUANT_ASSIGN_OR_RETURN(const FileIdentity identity,
                             IdentityOf(local.location));
      QUANT_ASSIGN_OR_RETURN(std::string sha256, Sha256OfFile(local.location));
      v1::UploadFile* file = request_.add_files();
      file->set_path(local.path);
      file->set_size_bytes(identity.size_bytes);
      file->set_sha256(sha256);
      sources_[std::move(sha256)] = {local.location, identity};
    }
    return CallCreate();
  }

  // Repeating the declaration is harmless: it answers the same upload.
  absl::Status CallCreate() {
    RetryBudget budget(client_.options().retry_for);
    while (true) {
      grpc::ClientContext context;
      context.set_deadline(system_clock::now() +
                           client_.options().long_deadline);
      const absl::Status status = StatusFromGrpc(
          models_.CreateUpload(&context, request_, &report_.upload),
          client_.target());
      if (status.ok() || !IsTransient(status)) return status;
      QUANT_RETURN_IF_ERROR(budget.Wait(status, options_.stop));
    }
  }

  absl::Status Send(const v1::UploadFile& file) {
    const auto source = sources_.find(file.sha256());
    if (source == sources_.end()) {
      return MakeError(absl::StatusCode::kInternal, Reason::kInternal,
                       "the server asks for a file that was not declared");
    }
    const auto& [location, identity] = source->second;
    progress_.file = file.path();
    file_start_ = progress_.bytes_done;
    QUANT_ASSIGN_OR_RETURN(const File local, File::OpenRead(location));
    QUANT_ASSIGN_OR_RETURN(const FileIdentity now, local.Identity());
    if (now != identity) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       Reason::kSourceChanged,
                       absl::StrCat(location, ": changed since it was hashed"));
    }
    QUANT_RETURN_IF_ERROR(SendWithRetries(file, local));
    ++report_.files_sent;
    ++progress_.files_done;
    Show(file.size_bytes());
    return absl::OkStatus();
  }

  absl::Status SendWithRetries(const v1::UploadFile& file, const File& local) {
    RetryBudget budget(client_.options().retry_for);
    int64_t best = -1;
    while (true) {
      absl::Status status = Resume(file, local, best, budget);
      if (status.ok()) return status;
      if (options_.stop.stop_requested()) return Stopped();
      // ABORTED: the server has not noticed yet that our last stream ended.
      const bool again = IsTransient(status) || absl::IsAborted(status) ||
                         absl::IsCancelled(status) ||
                         absl::IsDeadlineExceeded(status);
      if (!again) return status;
      if (absl::IsCancelled(status)) QUANT_RETURN_IF_ERROR(Reconnect());
      QUANT_RETURN_IF_ERROR(budget.Wait(status, options_.stop));
    }
  }

  absl::Status Reconnect() {
    QUANT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                           OpenChannel(client_.target(), client_.options()));
    bytes_ = ByteStream::NewStub(channel);
    return absl::OkStatus();
  }

  // Asks how far the server is and sends the rest. OK: the blob is complete.
  absl::Status Resume(const v1::UploadFile& file, const File& local,
                      int64_t& best, RetryBudget& budget) {
    grpc::ClientContext context;
    context.set_deadline(system_clock::now() + client_.options().deadline);
    QueryWriteStatusRequest query;
    query.set_resource_name(file.resource_name());
    QueryWriteStatusResponse at;
    QUANT_RETURN_IF_ERROR(StatusFromGrpc(
        bytes_->QueryWriteStatus(&context, query, &at), client_.target()));
    if (at.complete()) return absl::OkStatus();
    const int64_t offset = at.committed_size();
    if (offset < 0 || offset > file.size_bytes()) {
      return MakeError(absl::StatusCode::kInternal, Reason::kOffsetInvalid,
                       absl::StrCat("the server committed ", offset, " of ",
                                    file.size_bytes(), " bytes"));
    }
    if (best < 0) report_.bytes_resumed += offset;
    if (offset > best) budget.Reset();
    best = std::max(best, offset);
    return SendStream(file, local, offset);
  }

  absl::Status SendStream(const v1::UploadFile& file, const File& local,
                          int64_t offset) {
    grpc::ClientContext context;
    context.set_deadline(system_clock::now() + kStreamDeadline);
    StreamGuard guard(&context, options_.silence, options_.stop);
    ++report_.streams;
    WriteResponse response;
    auto writer = bytes_->Write(&context, &response);
    const absl::Status read = WriteAll(file, local, offset, *writer, guard);
    if (!read.ok()) context.TryCancel();
    const grpc::Status status = writer->Finish();
    QUANT_RETURN_IF_ERROR(read);
    QUANT_RETURN_IF_ERROR(StatusFromGrpc(status, client_.target()));
    if (response.committed_size() == file.size_bytes()) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("server ", client_.target(), ": ", file.path(),
                     " ended after ", response.committed_size(), " bytes"));
  }

  // Errors are those of reading; a stream that the server ended early is OK
  // here, and its status says why.
  absl::Status WriteAll(const v1::UploadFile& file, const File& local,
                        int64_t offset,
                        grpc::ClientWriter<WriteRequest>& writer,
                        StreamGuard& guard) {
    WriteRequest message;
    message.set_resource_name(file.resource_name());
    while (true) {
      const int64_t n = std::min(file.size_bytes() - offset, kChunkBytes);
      std::string& data = *message.mutable_data();
      data.resize(static_cast<size_t>(n));
      QUANT_RETURN_IF_ERROR(local.ReadAt(
          offset, {reinterpret_cast<uint8_t*>(data.data()), data.size()}));
      message.set_write_offset(offset);
      offset += n;
      message.set_finish_write(offset == file.size_bytes());
      if (!writer.Write(message)) return absl::OkStatus();
      guard.Touch();
      report_.bytes_sent += n;
      ShowSometimes(offset);
      if (message.finish_write()) break;
    }
    writer.WritesDone();
    return absl::OkStatus();
  }

  void ShowSometimes(int64_t file_bytes) {
    if (file_start_ + file_bytes - progress_.bytes_done >= kProgressBytes) {
      Show(file_bytes);
    }
  }

  void Show(int64_t file_bytes) {
    progress_.bytes_done = file_start_ + file_bytes;
    if (options_.progress) options_.progress(progress_);
  }

  struct Source {
    std::string location;
    FileIdentity identity;
  };

  Client& client_;
  v1::ModelService::Stub models_;
  std::unique_ptr<ByteStream::Stub> bytes_;
  const TransferOptions& options_;
  v1::CreateUploadRequest request_;
  std::map<std::string, Source> sources_;  // by SHA-256
  UploadReport report_;
  TransferProgress progress_;
  int64_t file_start_ = 0;  // bytes of the files before this one
};

}  // namespace

absl::StatusOr<UploadReport> Upload(Client& client, const std::string& path,
                                    const TransferOptions& options) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<LocalFile> files,
                         ListModelFiles(path));
  return Uploader(client, options).Run(files);
}

absl::StatusOr<UploadReport> UploadFile(Client& client, const std::string& path,
                                        const TransferOptions& options) {
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(path));
  const LocalFile file{.path = path.substr(path.rfind('/') + 1),
                       .location = path,
                       .size_bytes = identity.size_bytes};
  return Uploader(client, options).Run({file});
}

}  // namespace quant

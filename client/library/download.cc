#include "client/library/download.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/library/channel.h"
#include "client/library/errors.h"
#include "client/library/part_file.h"
#include "client/library/retry.h"
#include "client/library/stream_guard.h"
#include "client/library/target_directory.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "google/bytestream/bytestream.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace quant {
namespace {

using google::bytestream::ByteStream;

// No call without a deadline; a longer file is taken up where it was.
constexpr std::chrono::hours kStreamDeadline{1};
constexpr int64_t kProgressBytes = 16 << 20;
constexpr char kManifest[] = "manifest.json";

absl::Status Stopped() {
  return MakeError(absl::StatusCode::kCancelled, Reason::kCancelled,
                   "download stopped; the same call takes it up again");
}

// The server's paths become local ones: nothing may leave the directory.
absl::Status CheckFile(const v1::ArtifactFile& file) {
  for (absl::string_view part : absl::StrSplit(file.path(), '/')) {
    if (!IsPlainFileName(part)) {
      return MakeError(absl::StatusCode::kDataLoss, Reason::kInternal,
                       absl::StrCat("the server lists the file \"", file.path(),
                                    "\"; allowed are plain relative paths"));
    }
  }
  if (file.size_bytes() < 0 || !IsSha256Hex(file.sha256())) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kInternal,
                     absl::StrCat("the server lists ", file.path(),
                                  " with a bad size or digest"));
  }
  return absl::OkStatus();
}

class Downloader {
 public:
  Downloader(Client& client, const std::string& directory,
             const TransferOptions& options)
      : client_(client),
        stub_(ByteStream::NewStub(client.channel())),
        directory_(directory),
        options_(options) {}

  absl::StatusOr<DownloadReport> Run(const std::string& artifact) {
    QUANT_ASSIGN_OR_RETURN(report_.artifact, client_.GetArtifact(artifact));
    std::vector<v1::ArtifactFile> files(report_.artifact.files().begin(),
                                        report_.artifact.files().end());
    std::stable_partition(files.begin(), files.end(), [](const auto& file) {
      return file.path() != kManifest;
    });
    progress_.files_total = static_cast<int64_t>(files.size());
    for (const v1::ArtifactFile& file : files) {
      QUANT_RETURN_IF_ERROR(CheckFile(file));
      progress_.bytes_total += file.size_bytes();
    }
    QUANT_RETURN_IF_ERROR(MakeRoom());
    for (const v1::ArtifactFile& file : files) {
      QUANT_RETURN_IF_ERROR(Fetch(file));
    }
    return std::move(report_);
  }

 private:
  // Nothing of others is replaced, or left to be taken for the artifact's,
  // unasked.
  absl::Status MakeRoom() {
    QUANT_RETURN_IF_ERROR(MakeDirectories(directory_));
    QUANT_ASSIGN_OR_RETURN(TargetContents there,
                           LookInto(directory_, report_.artifact));
    complete_ = std::move(there.complete);
    if (there.foreign.empty()) return absl::OkStatus();
    if (!options_.overwrite) {
      return MakeError(
          absl::StatusCode::kAlreadyExists, Reason::kOutputExists,
          absl::StrCat(
              directory_, ": holds ", there.foreign.front(),
              there.foreign.size() > 1 ? " and more, which are" : ", which is",
              " not of ", report_.artifact.name(),
              "; choose another directory or --overwrite"));
    }
    for (const std::string& path : there.foreign) {
      QUANT_RETURN_IF_ERROR(RemoveTree(JoinPath(directory_, path)));
    }
    return absl::OkStatus();
  }

  absl::Status Fetch(const v1::ArtifactFile& file) {
    progress_.file = file.path();
    file_start_ = progress_.bytes_done;
    const std::string path = JoinPath(directory_, file.path());
    if (complete_.count(file.path()) > 0) {
      ++report_.files_skipped;
    } else {
      QUANT_RETURN_IF_ERROR(MakeDirectories(ParentPath(path)));
      absl::Status status = FetchOnce(path, file);
      if (GetReason(status) == Reason::kDigestMismatch) {
        ++report_.files_restarted;
        status = FetchOnce(path, file);
      }
      QUANT_RETURN_IF_ERROR(status);
    }
    ++progress_.files_done;
    Show(file.size_bytes());
    return absl::OkStatus();
  }

  // DATA_LOSS DIGEST_MISMATCH removes the part, so that the next try is whole.
  absl::Status FetchOnce(const std::string& path,
                         const v1::ArtifactFile& file) {
    const std::string part_path = absl::StrCat(path, kPartSuffix);
    QUANT_ASSIGN_OR_RETURN(std::unique_ptr<PartFile> part,
                           PartFile::Open(part_path, file.size_bytes()));
    report_.bytes_resumed += part->size();
    QUANT_RETURN_IF_ERROR(Receive(file, *part));
    const std::string sha256 = part->Finish();
    if (sha256 == file.sha256()) return Rename(part_path, path);
    QUANT_RETURN_IF_ERROR(RemoveTree(part_path));
    return MakeError(
        absl::StatusCode::kDataLoss, Reason::kDigestMismatch,
        absl::StrCat(path, ": SHA-256 is ", sha256, ", not ", file.sha256()));
  }

  // Streams until the part has all its bytes.
  absl::Status Receive(const v1::ArtifactFile& file, PartFile& part) {
    RetryBudget budget(client_.options().retry_for);
    while (part.size() < file.size_bytes()) {
      const int64_t before = part.size();
      const absl::Status status = ReceiveStream(file, part);
      if (options_.stop.stop_requested()) return Stopped();
      if (part.size() == file.size_bytes()) break;
      if (part.size() > before) budget.Reset();
      if (!status.ok() && !MayGoOn(status)) return status;
      if (absl::IsCancelled(status)) QUANT_RETURN_IF_ERROR(Reconnect());
      QUANT_RETURN_IF_ERROR(budget.Wait(
          status.ok() ? absl::UnavailableError(absl::StrCat(
                            "server ", client_.target(), ": ", file.path(),
                            " ended after ", part.size(), " bytes"))
                      : status,
          options_.stop));
    }
    return absl::OkStatus();
  }

  // CANCELLED without a stop is the guard's doing: nothing came for too long.
  static bool MayGoOn(const absl::Status& status) {
    return IsTransient(status) || absl::IsCancelled(status) ||
           absl::IsDeadlineExceeded(status);
  }

  absl::Status Reconnect() {
    QUANT_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                           OpenChannel(client_.target(), client_.options()));
    stub_ = ByteStream::NewStub(channel);
    return absl::OkStatus();
  }

  absl::Status ReceiveStream(const v1::ArtifactFile& file, PartFile& part) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kStreamDeadline);
    google::bytestream::ReadRequest request;
    request.set_resource_name(file.resource_name());
    request.set_read_offset(part.size());
    StreamGuard guard(&context, options_.silence, options_.stop);
    ++report_.streams;
    auto reader = stub_->Read(&context, request);
    google::bytestream::ReadResponse message;
    absl::Status local;
    while (local.ok() && reader->Read(&message)) {
      guard.Touch();
      report_.bytes_received += static_cast<int64_t>(message.data().size());
      local = part.Append(*message.mutable_data());
      ShowSometimes(part.size());
    }
    if (!local.ok()) context.TryCancel();
    const grpc::Status status = reader->Finish();
    return local.ok() ? StatusFromGrpc(status, client_.target()) : local;
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

  Client& client_;
  std::unique_ptr<ByteStream::Stub> stub_;
  const std::string directory_;
  const TransferOptions& options_;
  std::set<std::string> complete_;  // files that are there already
  DownloadReport report_;
  TransferProgress progress_;
  int64_t file_start_ = 0;  // bytes of the files before this one
};

}  // namespace

absl::StatusOr<DownloadReport> Download(Client& client,
                                        const std::string& artifact,
                                        const std::string& directory,
                                        const TransferOptions& options) {
  return Downloader(client, directory, options).Run(artifact);
}

}  // namespace quant

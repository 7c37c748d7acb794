#include "server/store/blob_writer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;

class LocalBlobWriter final : public BlobWriter {
 public:
  LocalBlobWriter(BlobTarget target, File file, std::function<void()> release)
      : target_(std::move(target)),
        file_(std::move(file)),
        release_(std::move(release)) {}
  ~LocalBlobWriter() override { release_(); }

  // Hashes what is there already.
  absl::Status TakeUp() {
    QUANT_ASSIGN_OR_RETURN(int64_t there, file_.Size());
    if (there > target_.size_bytes) {
      QUANT_RETURN_IF_ERROR(file_.Truncate(0));
      there = 0;
    }
    std::vector<uint8_t> buffer(std::min(there, kChunkBytes));
    while (committed_ < there) {
      const auto chunk = absl::MakeSpan(
          buffer.data(), std::min<int64_t>(kChunkBytes, there - committed_));
      QUANT_RETURN_IF_ERROR(file_.ReadAt(committed_, chunk));
      sha_.Update(chunk);
      committed_ += static_cast<int64_t>(chunk.size());
    }
    return absl::OkStatus();
  }

  int64_t committed_size() const override { return committed_; }
  bool complete() const override { return complete_; }

  absl::Status Append(absl::Span<const uint8_t> bytes) override {
    const int64_t count = static_cast<int64_t>(bytes.size());
    if (count > target_.size_bytes - committed_) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, Reason::kOffsetInvalid,
          absl::StrCat("blob ", target_.sha256, ": ", committed_, " + ", count,
                       " bytes; ", target_.size_bytes, " were declared"),
          "data");
    }
    QUANT_RETURN_IF_ERROR(file_.WriteAt(committed_, bytes));
    sha_.Update(bytes);
    committed_ += count;
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (complete_) return absl::OkStatus();
    const std::string found = sha_.Finish();
    if (committed_ != target_.size_bytes || found != target_.sha256) {
      QUANT_RETURN_IF_ERROR(file_.Truncate(0));
      const int64_t received = std::exchange(committed_, 0);
      sha_ = Sha256();
      return MakeError(absl::StatusCode::kInvalidArgument,
                       Reason::kDigestMismatch,
                       absl::StrCat("blob ", target_.sha256, ": received ",
                                    received, " bytes with SHA-256 ", found,
                                    "; ", target_.size_bytes, " were declared"),
                       "data");
    }
    if (target_.sync) QUANT_RETURN_IF_ERROR(file_.Sync());
    QUANT_RETURN_IF_ERROR(Rename(target_.incoming, target_.finished));
    complete_ = true;
    if (!target_.sync) return absl::OkStatus();
    return SyncDirectory(ParentPath(target_.finished));
  }

 private:
  const BlobTarget target_;
  File file_;
  std::function<void()> release_;
  Sha256 sha_;
  int64_t committed_ = 0;
  bool complete_ = false;
};

// A blob that somebody has brought before.
class StoredBlob final : public BlobWriter {
 public:
  StoredBlob(int64_t size, std::function<void()> release)
      : size_(size), release_(std::move(release)) {}
  ~StoredBlob() override { release_(); }
  int64_t committed_size() const override { return size_; }
  bool complete() const override { return true; }
  absl::Status Append(absl::Span<const uint8_t> bytes) override {
    if (bytes.empty()) return absl::OkStatus();
    return MakeError(absl::StatusCode::kInvalidArgument, Reason::kOffsetInvalid,
                     "the blob is complete already", "data");
  }
  absl::Status Finish() override { return absl::OkStatus(); }

 private:
  int64_t size_;
  std::function<void()> release_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BlobWriter>> OpenBlobWriter(
    const BlobTarget& target, std::function<void()> release) {
  if (PathExists(target.finished)) {
    return std::make_unique<StoredBlob>(target.size_bytes, std::move(release));
  }
  absl::StatusOr<File> file = File::OpenWrite(target.incoming);
  if (!file.ok()) {
    release();
    return file.status();
  }
  auto writer = std::make_unique<LocalBlobWriter>(target, *std::move(file),
                                                  std::move(release));
  QUANT_RETURN_IF_ERROR(writer->TakeUp());
  return writer;
}

}  // namespace quant

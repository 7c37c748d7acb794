#include "client/library/part_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// Buffers that wait to be hashed. Few, so that they stay in cache.
constexpr int kBuffers = 6;
constexpr int64_t kHashChunkBytes = 1 << 20;

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<PartFile>> PartFile::Open(
    const std::string& path, int64_t expected_size) {
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenWrite(path));
  auto part =
      std::unique_ptr<PartFile>(new PartFile(std::move(file), expected_size));
  QUANT_RETURN_IF_ERROR(part->TakeOverOldBytes());
  part->hasher_ = std::thread([raw = part.get()] { raw->HashAll(); });
  return part;
}

PartFile::PartFile(File file, int64_t expected_size)
    : file_(std::move(file)), expected_size_(expected_size), empty_(kBuffers) {}

PartFile::~PartFile() { Close(); }

absl::Status PartFile::TakeOverOldBytes() {
  QUANT_ASSIGN_OR_RETURN(int64_t size, file_.Size());
  if (size > expected_size_) {
    QUANT_RETURN_IF_ERROR(file_.Truncate(0));
    size = 0;
  }
  std::vector<uint8_t> buffer(std::min(size, kHashChunkBytes));
  while (size_ < size) {
    const absl::Span<uint8_t> chunk(
        buffer.data(), std::min<int64_t>(size - size_, kHashChunkBytes));
    QUANT_RETURN_IF_ERROR(file_.ReadAt(size_, chunk));
    sha_.Update(chunk);
    size_ += static_cast<int64_t>(chunk.size());
  }
  return absl::OkStatus();
}

absl::Status PartFile::Append(std::string& bytes) {
  const auto length = static_cast<int64_t>(bytes.size());
  if (length > expected_size_ - size_) {
    return MakeError(absl::StatusCode::kOutOfRange, Reason::kOffsetInvalid,
                     absl::StrCat(file_.path(), ": the server sends more than ",
                                  expected_size_, " bytes"));
  }
  QUANT_RETURN_IF_ERROR(file_.WriteAt(size_, Bytes(bytes)));
  size_ += length;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !empty_.empty(); });
  full_.push_back(std::move(bytes));
  bytes = std::move(empty_.front());
  empty_.pop_front();
  changed_.notify_all();
  return absl::OkStatus();
}

std::string PartFile::Finish() {
  Close();
  return sha_.Finish();
}

void PartFile::HashAll() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !full_.empty() || closed_; });
    if (full_.empty()) return;
    std::string bytes = std::move(full_.front());
    full_.pop_front();
    lock.unlock();
    sha_.Update(bytes);
    lock.lock();
    empty_.push_back(std::move(bytes));
    changed_.notify_all();
  }
}

void PartFile::Close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  if (hasher_.joinable()) hasher_.join();
}

}  // namespace quant

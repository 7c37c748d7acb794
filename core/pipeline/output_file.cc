#include "core/pipeline/output_file.h"

#include <fcntl.h>

#include <algorithm>

#include "core/base/status_macros.h"

namespace quant {

OutputFile::OutputFile(File file, const LayoutFile& layout)
    : file_(std::move(file)),
      name_(layout.path),
      size_(layout.file_size),
      front_(static_cast<int64_t>(layout.header.size())) {
  for (const PlacedTensor& tensor : layout.tensors) {
    regions_.push_back({tensor.begin, tensor.end, tensor.begin, 0});
  }
  AdvanceFront();
}

absl::StatusOr<OutputFile> OutputFile::Open(const std::string& directory,
                                            const LayoutFile& layout,
                                            bool* fresh) {
  const std::string path = JoinPath(directory, layout.path);
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenWrite(path));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size != layout.file_size) *fresh = true;
  if (*fresh) {
    QUANT_RETURN_IF_ERROR(file.Truncate(0));
    QUANT_RETURN_IF_ERROR(file.Allocate(layout.file_size));
  }
  const std::string& header = layout.header;
  QUANT_RETURN_IF_ERROR(file.WriteAt(
      0, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(header.data()),
                             header.size())));
  return OutputFile(std::move(file), layout);
}

void OutputFile::MarkWritten(int64_t begin, int64_t end) {
  const auto it = std::upper_bound(
      regions_.begin(), regions_.end(), begin,
      [](int64_t offset, const Region& r) { return offset < r.end; });
  if (it == regions_.end() || it->written == it->end) return;
  if (begin == it->written) {
    it->written = end;
  } else {
    it->scattered += end - begin;
  }
  // Ranges are written once each, so that their sum says when all are there.
  if (it->written - it->begin + it->scattered == it->end - it->begin) {
    it->written = it->end;
  }
  AdvanceFront();
}

void OutputFile::AdvanceFront() {
  while (front_region_ < regions_.size()) {
    const Region& region = regions_[front_region_];
    front_ = region.written;
    if (region.written < region.end) return;
    ++front_region_;
  }
  front_ = size_;
}

void OutputFile::StartHash(int64_t max_bytes) {
  hashing_ = true;
  hash_end_ = std::min(front_, hashed_ + max_bytes);
  while (!kept_.empty() && kept_.begin()->first < hash_end_) {
    in_hash_.insert(kept_.extract(kept_.begin()));
  }
}

void OutputFile::Keep(int64_t offset, std::vector<uint8_t> bytes,
                      BufferPool& pool) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (offset < hashed_) {
    pool.Give(std::move(bytes), size);
  } else {
    kept_[offset] = std::move(bytes);
  }
}

absl::Status OutputFile::HashNext(absl::Span<uint8_t> buffer, bool write_back) {
  auto kept = in_hash_.begin();
  for (int64_t at = hashed_; at < hash_end_;) {
    int64_t end = hash_end_;
    if (kept != in_hash_.end() && kept->first <= at) {
      const absl::Span<const uint8_t> bytes = kept->second;
      const auto known =
          bytes.subspan(at - kept->first)
              .first(std::min<size_t>(hash_end_ - at,
                                      bytes.size() - (at - kept->first)));
      sha_.Update(known);
      at += static_cast<int64_t>(known.size());
      ++kept;
      continue;
    }
    if (kept != in_hash_.end()) end = std::min(end, kept->first);
    const int64_t n =
        std::min<int64_t>(end - at, static_cast<int64_t>(buffer.size()));
    QUANT_RETURN_IF_ERROR(file_.ReadAt(at, buffer.first(n)));
    sha_.Update(buffer.first(n));
    at += n;
  }
  // Starts the disk early, so that the final fsync finds little to do.
  if (write_back) {
    ::sync_file_range(file_.fd(), hashed_, hash_end_ - hashed_,
                      SYNC_FILE_RANGE_WRITE);
  }
  return absl::OkStatus();
}

void OutputFile::EndHash(BufferPool& pool) {
  hashed_ = hash_end_;
  hashing_ = false;
  while (!in_hash_.empty()) {
    const auto first = in_hash_.begin();
    const auto size = static_cast<int64_t>(first->second.size());
    if (first->first + size > hashed_) break;  // goes on in it
    pool.Give(std::move(first->second), size);
    in_hash_.erase(first);
  }
}

}  // namespace quant

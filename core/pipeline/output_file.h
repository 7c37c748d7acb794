// A weight file of an artifact while it is being made: written in any order,
// hashed in file order behind the front of what is complete.
//
// Thread-safety: Write may be called from many threads. The other methods are
// called under the scheduler's lock, except HashNext, which runs without it but
// never twice at a time for one file (see StartHash).
#ifndef QUANT_CORE_PIPELINE_OUTPUT_FILE_H_
#define QUANT_CORE_PIPELINE_OUTPUT_FILE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/artifact/format.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/pipeline/buffer_pool.h"

namespace quant {

class OutputFile {
 public:
  // Opens directory/<layout.path>: when `fresh`, or when its size is not the
  // planned one, it is made anew, its blocks are reserved and the header is
  // written. `*fresh` is set when it had to be made.
  static absl::StatusOr<OutputFile> Open(const std::string& directory,
                                         const LayoutFile& layout, bool* fresh);

  absl::Status Write(int64_t offset, absl::Span<const uint8_t> bytes) const {
    return file_.WriteAt(offset, bytes);
  }
  absl::Status WriteParts(
      int64_t offset, absl::Span<const absl::Span<const uint8_t>> parts) const {
    return file_.WritePartsAt(offset, parts);
  }
  absl::Status Read(int64_t offset, absl::Span<uint8_t> out) const {
    return file_.ReadAt(offset, out);
  }

  // Bytes [begin, end) of one tensor are written, each byte once (or again,
  // once all of the tensor is). Where ranges do not come in ascending order,
  // nothing of the tensor is hashable before all of it is written.
  void MarkWritten(int64_t begin, int64_t end);

  // Keeps bytes that were written at `offset`, and that BufferPool::Keep
  // allowed to wait, until they are hashed: they need not be read again. Then
  // they go back to `pool`.
  void Keep(int64_t offset, std::vector<uint8_t> bytes, BufferPool& pool);

  // Complete bytes, from the start of the file, that are not hashed yet.
  int64_t HashableBytes() const { return front_ - hashed_; }
  bool hashing() const { return hashing_; }
  bool hashed() const { return hashed_ == size_ && !hashing_; }

  // Claims up to `max_bytes` for hashing; HashNext then does it, and EndHash
  // gives the file back.
  void StartHash(int64_t max_bytes);
  absl::Status HashNext(absl::Span<uint8_t> buffer, bool write_back);
  void EndHash(BufferPool& pool);

  absl::Status Sync() const { return file_.Sync(); }
  // 64 hex digits; once, when hashed().
  std::string FinishHash() { return sha_.Finish(); }
  int64_t size() const { return size_; }
  const std::string& name() const { return name_; }

 private:
  OutputFile(File file, const LayoutFile& layout);
  void AdvanceFront();

  struct Region {
    int64_t begin;
    int64_t end;
    int64_t written;    // absolute end of the written prefix
    int64_t scattered;  // bytes written beyond the prefix
  };

  // By offset.
  using KeptBytes = std::map<int64_t, std::vector<uint8_t>>;

  File file_;
  std::string name_;
  int64_t size_ = 0;
  std::vector<Region> regions_;  // the tensors, by offset
  size_t front_region_ = 0;
  int64_t front_ = 0;   // everything before it is written
  int64_t hashed_ = 0;  // everything before it is in sha_
  int64_t hash_end_ = 0;
  bool hashing_ = false;
  KeptBytes kept_;
  KeptBytes in_hash_;  // those that HashNext may need
  Sha256 sha_;
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_OUTPUT_FILE_H_

// Buffers of output bytes that go round: a worker fills one and writes it, its
// file keeps it until it is hashed, and the next worker gets it. Thread-safe.
#ifndef QUANT_CORE_PIPELINE_BUFFER_POOL_H_
#define QUANT_CORE_PIPELINE_BUFFER_POOL_H_

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace quant {

class BufferPool {
 public:
  // Bytes that may wait for their hash; what comes beyond is read again from
  // the file. Several times what the scheduler lets accumulate.
  static constexpr int64_t kMaxKeptBytes = 16 << 20;
  // Buffers that nobody uses, beside as many as might wait but don't.
  static constexpr int64_t kMaxSpareBytes = 4 << 20;

  // An old buffer, contents and size as they happen to be, or an empty one.
  std::vector<uint8_t> Take() {
    std::lock_guard lock(mutex_);
    if (spare_.empty()) return {};
    std::vector<uint8_t> buffer = std::move(spare_.back());
    spare_.pop_back();
    spare_bytes_ -= static_cast<int64_t>(buffer.capacity());
    return buffer;
  }

  // Whether `bytes` more may wait; Give ends their waiting.
  bool Keep(int64_t bytes) {
    std::lock_guard lock(mutex_);
    if (kept_bytes_ + bytes > kMaxKeptBytes) return false;
    kept_bytes_ += bytes;
    return true;
  }

  // Whether little more may wait.
  bool nearly_full() {
    std::lock_guard lock(mutex_);
    return kept_bytes_ > kMaxKeptBytes / 4 * 3;
  }

  // Gives a buffer back, with the number of bytes it kept (0: none).
  void Give(std::vector<uint8_t> buffer, int64_t kept_bytes) {
    std::lock_guard lock(mutex_);
    kept_bytes_ -= kept_bytes;
    const auto size = static_cast<int64_t>(buffer.capacity());
    if (kept_bytes_ + spare_bytes_ + size > kMaxKeptBytes + kMaxSpareBytes) {
      return;
    }
    spare_bytes_ += size;
    spare_.push_back(std::move(buffer));
  }

 private:
  std::mutex mutex_;
  std::vector<std::vector<uint8_t>> spare_;
  int64_t spare_bytes_ = 0;
  int64_t kept_bytes_ = 0;
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_BUFFER_POOL_H_

// The open streams of the server, and the one thread that gives all of them
// the time: heartbeats, slow readers, idle writers, drains. Thread-safe.
#ifndef QUANT_SERVER_API_STREAMS_H_
#define QUANT_SERVER_API_STREAMS_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"

namespace quant {

// A stream that wants to know the time. Calls come from the ticker's thread
// and must not block.
class TickedStream {
 public:
  virtual ~TickedStream() = default;
  // Monotonic microseconds; several times per second.
  virtual void Tick(int64_t now) = 0;
  // The server stops: end, telling the client to come back. May be called on a
  // stream that has ended.
  virtual void Drain() = 0;
};

// Streams of callers without credentials: probes and balancers, some per
// machine.
inline constexpr int kMaxAnonymousStreams = 100;

class Streams {
 public:
  enum class Kind { kKnown, kAnonymous };

  Streams(const Clock& clock, int max_streams, int64_t tick_micros = 100'000);
  ~Streams();
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  // RESOURCE_EXHAUSTED QUEUE_FULL beyond max_streams, or kMaxAnonymousStreams,
  // which don't take from each other; UNAVAILABLE SERVER_DRAINING after
  // DrainAll.
  absl::Status Add(const std::shared_ptr<TickedStream>& stream,
                   Kind kind = Kind::kKnown);
  void Remove(const TickedStream* stream);
  int64_t size() const;

  // New work is refused from now on (JobService is NOT_SERVING); open streams
  // go on.
  void BeginDrain() { draining_ = true; }
  bool draining() const { return draining_; }
  // Ends all streams, and every one that comes later.
  void DrainAll();

  const Clock& clock() const { return clock_; }

 private:
  void Run();
  std::vector<std::shared_ptr<TickedStream>> Snapshot() const;

  const Clock& clock_;
  const int max_streams_;
  const int64_t tick_micros_;
  std::atomic<bool> draining_ = false;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  bool closed_ = false;
  struct Entry {
    std::weak_ptr<TickedStream> stream;
    Kind kind;
  };
  std::unordered_map<const TickedStream*, Entry> streams_;
  std::map<Kind, int> open_;
  std::thread thread_;
};

}  // namespace quant

#endif  // QUANT_SERVER_API_STREAMS_H_

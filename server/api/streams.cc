#include "server/api/streams.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {

Streams::Streams(const Clock& clock, int max_streams, int64_t tick_micros)
    : clock_(clock), max_streams_(max_streams), tick_micros_(tick_micros) {
  thread_ = std::thread([this] { Run(); });
}

Streams::~Streams() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

absl::Status Streams::Add(const std::shared_ptr<TickedStream>& stream,
                          Kind kind) {
  std::lock_guard lock(mutex_);
  if (closed_) {
    return MakeError(absl::StatusCode::kUnavailable, Reason::kServerDraining,
                     "the server is stopping");
  }
  const bool anonymous = kind == Kind::kAnonymous;
  const int most = anonymous ? kMaxAnonymousStreams : max_streams_;
  if (open_[kind] >= most) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
        absl::StrCat(most, " streams ", anonymous ? "without credentials " : "",
                     "are open already; try again later"));
  }
  ++open_[kind];
  streams_.emplace(stream.get(), Entry{stream, kind});
  return absl::OkStatus();
}

void Streams::Remove(const TickedStream* stream) {
  std::lock_guard lock(mutex_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  --open_[found->second.kind];
  streams_.erase(found);
}

int64_t Streams::size() const {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(streams_.size());
}

std::vector<std::shared_ptr<TickedStream>> Streams::Snapshot() const {
  std::vector<std::shared_ptr<TickedStream>> out;
  std::lock_guard lock(mutex_);
  out.reserve(streams_.size());
  for (const auto& [key, entry] : streams_) {
    if (auto stream = entry.stream.lock()) out.push_back(std::move(stream));
  }
  return out;
}

void Streams::DrainAll() {
  draining_ = true;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  for (const auto& stream : Snapshot()) stream->Drain();
}

void Streams::Run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait_for(lock, std::chrono::microseconds(tick_micros_));
    if (stop_) return;
    lock.unlock();
    const int64_t now = clock_.MonotonicMicros();
    for (const auto& stream : Snapshot()) stream->Tick(now);
    lock.lock();
  }
}

}  // namespace quant

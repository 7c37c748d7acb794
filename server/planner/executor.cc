#include "server/planner/executor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {

Executor::Executor(std::string name, int threads, int64_t queue_limit)
    : name_(std::move(name)), queue_limit_(queue_limit) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

Executor::~Executor() { Stop(); }

absl::Status Executor::Submit(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) {
      return MakeError(absl::StatusCode::kUnavailable, Reason::kServerDraining,
                       "the server is stopping");
    }
    if (static_cast<int64_t>(queue_.size()) >= queue_limit_) {
      return MakeError(
          absl::StatusCode::kResourceExhausted, Reason::kQueueFull,
          absl::StrCat(name_, ": ", queue_limit_,
                       " calls are waiting already; try again later"));
    }
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
  return absl::OkStatus();
}

void Executor::Continue(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (!stopped_) {
      queue_.push_back(std::move(task));
      wake_.notify_one();
      return;
    }
  }
  task();
}

void Executor::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

int64_t Executor::depth() const {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(queue_.size());
}

void Executor::Run() {
  for (;;) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace quant

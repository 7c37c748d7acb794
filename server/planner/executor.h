// A fixed set of threads behind a bounded queue: where gRPC callbacks put work
// that may block. Thread-safe.
#ifndef QUANT_SERVER_PLANNER_EXECUTOR_H_
#define QUANT_SERVER_PLANNER_EXECUTOR_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"

namespace quant {

class Executor {
 public:
  using Task = std::function<void()>;

  // `name` says in errors which queue is full.
  Executor(std::string name, int threads, int64_t queue_limit);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // New work. RESOURCE_EXHAUSTED QUEUE_FULL when the queue is full;
  // UNAVAILABLE SERVER_DRAINING after Stop.
  absl::Status Submit(Task task);
  // The next step of a stream that was admitted already: never refused, because
  // each stream has at most one step queued. After Stop it runs on the caller.
  void Continue(Task task);
  // Runs what is queued, then joins the threads. Idempotent.
  void Stop();
  // Tasks that wait.
  int64_t depth() const;

 private:
  void Run();

  const std::string name_;
  const int64_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace quant

#endif  // QUANT_SERVER_PLANNER_EXECUTOR_H_

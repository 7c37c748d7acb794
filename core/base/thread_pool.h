// A fixed set of threads that work on one thing at a time. core starts no
// thread of its own: it is given a pool.
#ifndef QUANT_CORE_BASE_THREAD_POOL_H_
#define QUANT_CORE_BASE_THREAD_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quant {

class ThreadPool {
 public:
  // `threads` >= 1, the caller of RunOnAll included.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(0) ... body(threads() - 1) at the same time, body(0) on the
  // calling thread, and returns when all have returned. One call at a time.
  void RunOnAll(const std::function<void(int)>& body);

 private:
  void Work(int index);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  const std::function<void(int)>* body_ = nullptr;
  uint64_t generation_ = 0;
  int running_ = 0;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace quant

#endif  // QUANT_CORE_BASE_THREAD_POOL_H_

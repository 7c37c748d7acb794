// Ends a streaming call that must not go on: when its peer has been silent for
// too long, or when the caller asks for a stop. Blocking reads and writes have
// no timeout of their own.
#ifndef QUANT_CLIENT_LIBRARY_STREAM_GUARD_H_
#define QUANT_CLIENT_LIBRARY_STREAM_GUARD_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <stop_token>
#include <thread>

#include "grpcpp/client_context.h"

namespace quant {

class StreamGuard {
 public:
  // Cancels `context`, which must outlive the guard, after `silence` without a
  // Touch, or when `stop` is requested.
  StreamGuard(grpc::ClientContext* context, std::chrono::milliseconds silence,
              std::stop_token stop);

  // Something came or went. Cheap; from any one thread.
  void Touch() { touched_.store(true, std::memory_order_relaxed); }

 private:
  std::atomic<bool> touched_ = false;
  std::stop_callback<std::function<void()>> on_stop_;
  std::jthread watch_;  // last: ends before the others go
};

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_STREAM_GUARD_H_

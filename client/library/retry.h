// When to try again: exponential backoff with jitter, within a budget of time,
// never sooner than the server asks for.
#ifndef QUANT_CLIENT_LIBRARY_RETRY_H_
#define QUANT_CLIENT_LIBRARY_RETRY_H_

#include <chrono>
#include <random>
#include <stop_token>

#include "absl/status/status.h"

namespace quant {

// One series of attempts. Not thread-safe.
class RetryBudget {
 public:
  // Gives up `budget` after construction or the latest Reset.
  explicit RetryBudget(std::chrono::milliseconds budget);

  // Waits before the next attempt. OK: try again. Else the error to answer:
  // `error` itself when the budget is spent (or would be by the delay that the
  // server asks for), CANCELLED when a stop was requested.
  absl::Status Wait(const absl::Status& error, std::stop_token stop = {});

  // An attempt made progress: start over.
  void Reset();

 private:
  const std::chrono::milliseconds budget_;
  std::chrono::steady_clock::time_point deadline_;
  std::chrono::milliseconds step_;
  std::minstd_rand random_;
};

// Sleeps; false when a stop was requested before or meanwhile.
bool SleepUnlessStopped(std::chrono::milliseconds delay, std::stop_token stop);

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_RETRY_H_

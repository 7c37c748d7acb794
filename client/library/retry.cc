#include "client/library/retry.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "client/library/errors.h"
#include "core/base/error.h"

namespace quant {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kFirstStep{100};
constexpr milliseconds kLastStep{3000};

}  // namespace

bool SleepUnlessStopped(milliseconds delay, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, delay, [] { return false; });
  return !stop.stop_requested();
}

RetryBudget::RetryBudget(milliseconds budget)
    : budget_(budget), random_(std::random_device()()) {
  Reset();
}

void RetryBudget::Reset() {
  deadline_ = steady_clock::now() + budget_;
  step_ = kFirstStep;
}

absl::Status RetryBudget::Wait(const absl::Status& error,
                               std::stop_token stop) {
  // Half fixed, half random: many clients of one restarted server spread out.
  std::uniform_int_distribution<int64_t> jitter(0, step_.count() / 2);
  milliseconds delay(step_.count() / 2 + jitter(random_));
  step_ = std::min(step_ * 2, kLastStep);
  if (auto asked = RetryDelay(error)) delay = std::max(delay, *asked);
  if (steady_clock::now() + delay > deadline_) return error;
  if (!SleepUnlessStopped(delay, stop)) {
    return MakeError(absl::StatusCode::kCancelled, Reason::kCancelled,
                     "stopped by the caller");
  }
  return absl::OkStatus();
}

}  // namespace quant

#include "core/base/clock.h"

#include <chrono>

namespace quant {
namespace {

template <typename T>
int64_t Micros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             T::now().time_since_epoch())
      .count();
}

class SystemClock final : public Clock {
 public:
  int64_t NowMicros() const override {
    return Micros<std::chrono::system_clock>();
  }
  int64_t MonotonicMicros() const override {
    return Micros<std::chrono::steady_clock>();
  }
};

}  // namespace

const Clock& Clock::System() {
  static const SystemClock clock;
  return clock;
}

}  // namespace quant

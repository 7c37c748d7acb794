// Time comes in through an interface, so that tests can turn the clock.
#ifndef QUANT_CORE_BASE_CLOCK_H_
#define QUANT_CORE_BASE_CLOCK_H_

#include <cstdint>

namespace quant {

class Clock {
 public:
  virtual ~Clock() = default;
  // Microseconds since the Unix epoch.
  virtual int64_t NowMicros() const = 0;
  // Microseconds of a clock that never jumps; only differences mean anything.
  virtual int64_t MonotonicMicros() const = 0;

  // The machine's clocks.
  static const Clock& System();
};

}  // namespace quant

#endif  // QUANT_CORE_BASE_CLOCK_H_

// How much one caller may do, so that one script can't take the server from
// everybody else. Thread-safe; never blocks.
#ifndef QUANT_SERVER_AUTH_LIMITER_H_
#define QUANT_SERVER_AUTH_LIMITER_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "server/auth/principal.h"

namespace quant {

// 0: no limit. A server that asks nobody who they are has one principal.
struct Limits {
  int64_t open_jobs = 0;         // of a principal, that have not ended
  int64_t stored_bytes = 0;      // of a tenant: uploads and artifacts
  int64_t streams = 0;           // of a principal, at a time
  int64_t calls_per_second = 0;  // of a principal
};

class Limiter {
 public:
  // `clock` outlives it.
  Limiter(const Limits& limits, const Clock& clock);

  Limits limits() const;
  // From the next call on; what is open stays.
  void SetLimits(const Limits& limits);

  // RESOURCE_EXHAUSTED RATE_LIMITED. A bucket of tokens: what was not used is
  // kept for two seconds.
  absl::Status TakeCall(const Principal& caller);
  // RESOURCE_EXHAUSTED QUOTA_EXCEEDED; each OK wants a GiveBackStream.
  absl::Status TakeStream(const Principal& caller);
  void GiveBackStream(const Principal& caller);
  // Whether a tenant that has `stored` bytes may have `more`.
  // RESOURCE_EXHAUSTED QUOTA_EXCEEDED.
  absl::Status CheckBytes(const Principal& caller, int64_t stored,
                          int64_t more) const;

 private:
  struct Account {
    double tokens = 0;
    int64_t filled_micros = 0;
    int64_t streams = 0;
  };
  Account& AccountLocked(const Principal& caller, int64_t now);

  const Clock& clock_;
  mutable std::mutex mutex_;
  Limits limits_;
  // By principal: as many as the file of credentials names, and those that it
  // has named since the start.
  std::map<std::string, Account> accounts_;
};

}  // namespace quant

#endif  // QUANT_SERVER_AUTH_LIMITER_H_

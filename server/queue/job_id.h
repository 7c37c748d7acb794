// Identifiers of 26 characters that sort by creation: 48 bits of milliseconds
// and 80 bits that are random for the first id of a millisecond and count up
// within it, in Crockford's base 32, lower case.
#ifndef QUANT_SERVER_QUEUE_JOB_ID_H_
#define QUANT_SERVER_QUEUE_JOB_ID_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "absl/strings/string_view.h"

namespace quant {

// The 128 bits of an id; compares as the text does.
struct JobKey {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const JobKey&) const = default;
};

std::string FormatJobKey(JobKey key);
// When it was made, in microseconds since the Unix epoch; never falls from one
// key to the next.
int64_t TimeOfJobKey(JobKey key);
// nullopt unless `id` is exactly what FormatJobKey writes.
std::optional<JobKey> ParseJobKey(absl::string_view id);

// Strictly increasing ids, also when the clock stands still or goes back. Not
// thread-safe.
class JobIdGenerator {
 public:
  // Ids will be greater than `after`.
  explicit JobIdGenerator(JobKey after);
  std::string Next(int64_t now_micros);

 private:
  JobKey last_;
  std::random_device random_;
};

}  // namespace quant

#endif  // QUANT_SERVER_QUEUE_JOB_ID_H_

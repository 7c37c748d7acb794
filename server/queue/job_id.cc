#include "server/queue/job_id.h"

namespace quant {
namespace {

constexpr char kDigits[] = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr int kIdLength = 26;
constexpr int kRandomBitsHigh = 16;  // of 80; the rest is JobKey.low

}  // namespace

std::string FormatJobKey(JobKey key) {
  std::string id(kIdLength, '0');
  for (int i = kIdLength - 1; i >= 0; --i) {
    id[i] = kDigits[key.low & 31];
    key.low = key.low >> 5 | key.high << 59;
    key.high >>= 5;
  }
  return id;
}

int64_t TimeOfJobKey(JobKey key) {
  return static_cast<int64_t>(key.high >> kRandomBitsHigh) * 1000;
}

std::optional<JobKey> ParseJobKey(absl::string_view id) {
  if (id.size() != kIdLength || id[0] > '7') return std::nullopt;
  JobKey key;
  for (char c : id) {
    size_t digit = absl::string_view(kDigits).find(c);
    if (digit == absl::string_view::npos) return std::nullopt;
    key.high = key.high << 5 | key.low >> 59;
    key.low = key.low << 5 | digit;
  }
  return key;
}

JobIdGenerator::JobIdGenerator(JobKey after) : last_(after) {}

std::string JobIdGenerator::Next(int64_t now_micros) {
  uint64_t millis = static_cast<uint64_t>(now_micros) / 1000;
  if (millis > last_.high >> kRandomBitsHigh) {
    last_.high = millis << kRandomBitsHigh | (random_() & 0xffff);
    last_.low = static_cast<uint64_t>(random_()) << 32 | random_();
  } else if (++last_.low == 0) {
    ++last_.high;
  }
  return FormatJobKey(last_);
}

}  // namespace quant

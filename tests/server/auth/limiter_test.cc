#include "server/auth/limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.h"

namespace quant {
namespace {

class HandClock final : public Clock {
 public:
  int64_t NowMicros() const override { return now; }
  int64_t MonotonicMicros() const override { return now; }
  int64_t now = 1'000'000'000;
};

Principal Named(const std::string& name) {
  return {.name = name, .tenant = "t", .role = Role::kSubmitter};
}

void ExpectExhausted(const absl::Status& status, Reason reason,
                     const std::string& subject) {
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(GetReason(status), reason);
  EXPECT_EQ(GetField(status), subject);
}

TEST(LimiterTest, ABucketOfCallsForEach) {
  HandClock clock;
  Limiter limiter({.calls_per_second = 10}, clock);
  const Principal ci = Named("ci"), other = Named("other");
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(limiter.TakeCall(ci).ok()) << i;
  ExpectExhausted(limiter.TakeCall(ci), Reason::kRateLimited, "principal:ci");
  EXPECT_TRUE(limiter.TakeCall(other).ok()) << "nobody pays for another";
  clock.now += 99'000;
  EXPECT_FALSE(limiter.TakeCall(ci).ok());
  clock.now += 2'000;
  EXPECT_TRUE(limiter.TakeCall(ci).ok()) << "one in a tenth of a second";
  EXPECT_FALSE(limiter.TakeCall(ci).ok());
  // An hour saves no more than two seconds' worth.
  clock.now += int64_t{3600} * 1'000'000;
  int taken = 0;
  while (limiter.TakeCall(ci).ok()) ++taken;
  EXPECT_EQ(taken, 20);
  // A clock that goes back takes nothing away, and gives nothing.
  clock.now -= 1'000'000'000;
  EXPECT_FALSE(limiter.TakeCall(ci).ok());
}

TEST(LimiterTest, StreamsAreGivenBack) {
  HandClock clock;
  Limiter limiter({.streams = 2}, clock);
  const Principal ci = Named("ci");
  EXPECT_TRUE(limiter.TakeStream(ci).ok());
  EXPECT_TRUE(limiter.TakeStream(ci).ok());
  ExpectExhausted(limiter.TakeStream(ci), Reason::kQuotaExceeded,
                  "principal:ci");
  EXPECT_TRUE(limiter.TakeStream(Named("other")).ok());
  limiter.GiveBackStream(ci);
  EXPECT_TRUE(limiter.TakeStream(ci).ok());
}

TEST(LimiterTest, BytesOfATenant) {
  HandClock clock;
  const Limiter limiter({.stored_bytes = 1000}, clock);
  const Principal ci = Named("ci");
  EXPECT_TRUE(limiter.CheckBytes(ci, 600, 400).ok());
  ExpectExhausted(limiter.CheckBytes(ci, 600, 401), Reason::kQuotaExceeded,
                  "tenant:t");
  ExpectExhausted(limiter.CheckBytes(ci, INT64_MAX, INT64_MAX),
                  Reason::kQuotaExceeded, "tenant:t");
  EXPECT_TRUE(limiter.CheckBytes(ci, 2000, 0).ok()) << "nothing new";
}

TEST(LimiterTest, WithoutLimitsThereAreNone) {
  HandClock clock;
  Limiter limiter({}, clock);
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(limiter.TakeCall(Named("ci")).ok());
    ASSERT_TRUE(limiter.TakeStream(Named("ci")).ok());
  }
  EXPECT_TRUE(limiter.CheckBytes(Named("ci"), INT64_MAX, INT64_MAX).ok());
}

}  // namespace
}  // namespace quant

// Who is claimed first.
#include <gtest/gtest.h>

#include "tests/conformance/job_store/harness.h"

namespace quant::testing {
namespace {

constexpr int kSteps = kMostPriority - kLeastPriority;

class Priorities : public JobStoreTest {
 protected:
  std::string Add(int priority, const std::string& tenant = "") {
    auto job = queue_.Enqueue(
        {.spec = "spec", .priority = priority, .owner = {.tenant = tenant}});
    EXPECT_TRUE(job.ok()) << job.status();
    EXPECT_EQ(job->priority, priority);
    return job->id;
  }
  // All that wait, in the order in which they are claimed.
  std::vector<std::string> ClaimAll() {
    std::vector<std::string> ids;
    for (auto job = queue_.Claim(); job.ok(); job = queue_.Claim()) {
      ids.push_back(job->id);
    }
    return ids;
  }
};
QUANT_FOR_EACH_JOB_STORE(Priorities);

using Ids = std::vector<std::string>;

TEST_P(Priorities, TheMoreUrgentFirstThenTheOlder) {
  Ids ids;
  for (int priority : {1, 2, 4, 2, 3, 4}) {
    ids.push_back(Add(priority));
    clock_.Advance(kSecond);
  }
  const Ids expected = {ids[2], ids[5], ids[4], ids[1], ids[3], ids[0]};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(store_->Place(expected[i])->position, static_cast<int64_t>(i));
  }
  EXPECT_EQ(ClaimAll(), expected);
}

TEST_P(Priorities, EachStepIsWorthSoMuchWaiting) {
  for (int step = 1; step <= kSteps; ++step) {
    const std::string old = Add(kLeastPriority);
    clock_.Advance(step * options_.ageing_micros - kSecond);
    const std::string in_time = Add(kLeastPriority + step);
    clock_.Advance(2 * kSecond);
    const std::string too_late = Add(kLeastPriority + step);
    EXPECT_EQ(ClaimAll(), (Ids{in_time, old, too_late})) << step;
  }
}

// However many urgent jobs come, one each minute, and one job runs at a time.
TEST_P(Priorities, NothingStarves) {
  const std::string patient = Add(kLeastPriority);
  const int64_t start = clock_.NowMicros();
  while (true) {
    Add(kMostPriority);
    Add(kMostPriority);
    const std::string claimed = queue_.Claim()->id;
    if (claimed == patient) break;
    clock_.Advance(60 * kSecond);
    ASSERT_LE(clock_.NowMicros() - start,
              2 * kSteps * options_.ageing_micros + 120 * kSecond);
  }
}

TEST_P(Priorities, ARetryWaitsSinceItWasAskedFor) {
  const std::string failed = Running().id;
  ASSERT_TRUE(
      queue_.End(*store_->Get(failed), Outcome::kPermanentFailure).ok());
  clock_.Advance(2 * kSteps * options_.ageing_micros);
  const std::string earlier = Add(kNormalPriority);
  clock_.Advance(kSecond);
  ASSERT_TRUE(queue_.Retry(failed).ok());
  clock_.Advance(kSecond);
  const std::string later = Add(kNormalPriority);
  EXPECT_EQ(ClaimAll(), (Ids{earlier, failed, later}));
}

TEST_P(Priorities, AHandedBackJobKeepsItsPlace) {
  const JobRecord job = Running();
  clock_.Advance(kSecond);
  const std::string later = Add(kNormalPriority);
  ASSERT_TRUE(queue_.End(job, Outcome::kDrained).ok());
  EXPECT_EQ(ClaimAll(), (Ids{job.id, later}));
}

// Whatever one of them has sent, and however urgent it calls that.
TEST_P(Priorities, TenantsTakeTurns) {
  Ids many;
  for (int i = 0; i < 4; ++i) many.push_back(Add(kMostPriority, "many"));
  clock_.Advance(kSecond);
  const Ids few = {Add(kLeastPriority, "few"), Add(kNormalPriority, "few")};
  const std::string one = Add(kNormalPriority, "one");
  const Ids expected = {many[0], few[1],  one,    many[1],
                        few[0],  many[2], many[3]};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(store_->Place(expected[i])->position, static_cast<int64_t>(i));
  }
  EXPECT_EQ(ClaimAll(), expected);
}

// A job whenever the last one has ended is no way to be always first.
TEST_P(Priorities, ATurnIsKeptWithoutJobs) {
  Ids patient;
  for (int i = 0; i < 3; ++i) {
    patient.push_back(Add(kNormalPriority, "patient"));
  }
  Ids expected, claimed;
  for (size_t i = 0; i < patient.size(); ++i) {
    clock_.Advance(kSecond);
    const std::string hasty = Add(kNormalPriority, "hasty");
    expected.insert(expected.end(), {patient[i], hasty});
    for (int turn = 0; turn < 2; ++turn) {
      const JobRecord job = *queue_.Claim();
      claimed.push_back(job.id);
      ASSERT_TRUE(queue_.End(job, Outcome::kPermanentFailure).ok());
    }
  }
  EXPECT_EQ(claimed, expected);
}

TEST_P(Priorities, UnknownOnesAreRefused) {
  for (int priority : {0, -1, 5}) {
    EXPECT_REASON(queue_.Enqueue({.spec = "s", .priority = priority}),
                  absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec);
  }
}

}  // namespace
}  // namespace quant::testing

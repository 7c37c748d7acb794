// What every test of a job store needs: a clock to turn, a store of the
// backend under test, and calls that wait for their answer.
#ifndef QUANT_TESTS_CONFORMANCE_JOB_STORE_HARNESS_H_
#define QUANT_TESTS_CONFORMANCE_JOB_STORE_HARNESS_H_

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "server/queue/job_store.h"

namespace quant::testing {

inline constexpr int64_t kSecond = 1'000'000;

class ManualClock final : public Clock {
 public:
  int64_t NowMicros() const override { return now_; }
  int64_t MonotonicMicros() const override { return now_; }
  void Advance(int64_t micros) { now_ += micros; }

 private:
  std::atomic<int64_t> now_{1'700'000'000 * kSecond};
};

// Removed with everything in it on destruction.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Waits for the answer of one asynchronous write.
absl::StatusOr<JobRecord> Await(const std::function<void(JobCallback)>& start);

// Polls until `holds`, for at most 10 s; answers whether it came to hold.
bool Eventually(const std::function<bool()>& holds);

// A store with the asynchronous writes made synchronous.
class Queue {
 public:
  explicit Queue(JobStore* store) : store_(store) {}
  JobStore& store() { return *store_; }

  absl::StatusOr<JobRecord> Enqueue(EnqueueRequest request = {.spec = "spec"});
  absl::StatusOr<JobRecord> Claim(const std::string& owner = "node");
  absl::StatusOr<JobRecord> Heartbeat(const JobRecord& job);
  absl::StatusOr<JobRecord> Finish(FinishRequest request);
  absl::StatusOr<JobRecord> End(const JobRecord& job, Outcome outcome);
  absl::StatusOr<JobRecord> Cancel(const std::string& id,
                                   const std::string& etag = "");
  absl::StatusOr<JobRecord> Retry(const std::string& id,
                                  const std::string& etag = "",
                                  int64_t max_open_jobs = 0);
  absl::StatusOr<QueueControl> SetMode(QueueMode mode,
                                       const std::string& principal = "");
  absl::StatusOr<JobRecord> Delete(const std::string& id,
                                   const std::string& etag = "");
  // All kept events of a job; fails the test when they were compacted.
  std::vector<JobEvent> AllEvents(const std::string& id);

 private:
  JobStore* store_;
};

// Backends by name.
class JobStoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;
  void TearDown() override;
  // A fresh store with these options instead of the present one.
  void Restart(const QueueOptions& options);

  // A claimed job.
  JobRecord Running(EnqueueRequest request = {.spec = "spec"});
  // A job that is in `state`, made by legal means.
  JobRecord InState(JobState state);

  TempDirectory directory_;
  ManualClock clock_;
  QueueOptions options_{.jitter_seed = 7};
  std::unique_ptr<JobStore> store_;
  Queue queue_{nullptr};
  int stores_made_ = 0;
};

#define QUANT_FOR_EACH_JOB_STORE(suite)                       \
  INSTANTIATE_TEST_SUITE_P(                                   \
      Backends, suite, ::testing::Values("memory", "sqlite"), \
      [](const auto& parameter) { return std::string(parameter.param); })

#define EXPECT_REASON(status_or, wanted_code, wanted_reason)           \
  do {                                                                 \
    absl::Status quant_actual = (status_or).status();                  \
    EXPECT_EQ(quant_actual.code(), wanted_code) << quant_actual;       \
    EXPECT_EQ(GetReason(quant_actual), wanted_reason) << quant_actual; \
  } while (false)

}  // namespace quant::testing

#endif  // QUANT_TESTS_CONFORMANCE_JOB_STORE_HARNESS_H_

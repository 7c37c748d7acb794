// What every test of an artifact store needs: a directory, a store of the
// backend under test, and outputs to publish.
#ifndef QUANT_TESTS_CONFORMANCE_ARTIFACT_STORE_HARNESS_H_
#define QUANT_TESTS_CONFORMANCE_ARTIFACT_STORE_HARNESS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "server/store/artifact_store.h"

namespace quant::testing {

inline constexpr char kJob[] = "01hf00000000000000000000aa";
inline constexpr char kOtherJob[] = "01hf00000000000000000000bb";

class ManualClock final : public Clock {
 public:
  int64_t NowMicros() const override { return now_; }
  int64_t MonotonicMicros() const override { return now_; }
  void Set(int64_t micros) { now_ = micros; }

 private:
  int64_t now_ = 1'700'000'000'000'000;
};

using Contents = std::map<std::string, std::string>;

// Backends by name.
class ArtifactStoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;
  void TearDown() override;

  // As after a restart of the server.
  void Reopen();

  // Writes an output into the job's work directory.
  PublishRequest Output(const std::string& job_id, const std::string& output,
                        const Contents& contents);
  ArtifactRecord Publish(const std::string& job_id, const std::string& output,
                         const Contents& contents);
  // The whole file, or the error.
  absl::StatusOr<std::string> ReadAll(const std::string& id,
                                      const std::string& path);
  std::vector<std::string> ListIds(const std::string& job_id = "");

  std::string root_;
  ManualClock clock_;
  std::unique_ptr<ArtifactStore> store_;
};

#define QUANT_FOR_EACH_ARTIFACT_STORE(suite)       \
  INSTANTIATE_TEST_SUITE_P(                        \
      Backends, suite, ::testing::Values("local"), \
      [](const auto& parameter) { return std::string(parameter.param); })

// For a Status as well as a StatusOr.
inline absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

#define EXPECT_REASON(result, wanted_code, wanted_reason)              \
  do {                                                                 \
    const absl::Status quant_actual = StatusOf(result);                \
    EXPECT_EQ(quant_actual.code(), wanted_code) << quant_actual;       \
    EXPECT_EQ(GetReason(quant_actual), wanted_reason) << quant_actual; \
  } while (false)

}  // namespace quant::testing

#endif  // QUANT_TESTS_CONFORMANCE_ARTIFACT_STORE_HARNESS_H_

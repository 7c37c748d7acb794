#include "server/telemetry/metrics.h"

#include <unistd.h>

#include <map>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

double Value(const std::string& text, const std::string& series) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.size() > series.size() &&
        line.substr(0, series.size()) == series && line[series.size()] == ' ') {
      double value = 0;
      EXPECT_TRUE(absl::SimpleAtod(line.substr(series.size() + 1), &value));
      return value;
    }
  }
  ADD_FAILURE() << "no series " << series << " in\n" << text;
  return -1;
}

TEST(MetricsTest, RpcsAreCountedByMethodAndCode) {
  Metrics metrics;
  RpcMethodMetrics& get = metrics.rpc.Method("quant.v1.JobService/GetJob");
  EXPECT_EQ(&get, &metrics.rpc.Method("quant.v1.JobService/GetJob"));
  get.Started();
  get.Started();
  get.Handled(absl::StatusCode::kOk, 0.002);
  get.Handled(absl::StatusCode::kNotFound, 0.001);
  const std::string text = metrics.Render();
  const std::string method = "method=\"quant.v1.JobService/GetJob\"";
  EXPECT_EQ(Value(text, "quant_grpc_server_started_total{" + method + "}"), 2);
  EXPECT_THAT(text, ContainsRegex("handled_total\\{.*NOT_FOUND.*\\} 1"));
  EXPECT_EQ(
      Value(text, "quant_grpc_server_handling_seconds_count{" + method + "}"),
      2);
}

TEST(MetricsTest, MethodsMayBeResolvedFromManyThreads) {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&metrics, t] {
      for (int i = 0; i < 200; ++i) {
        metrics.rpc.Method("m" + std::to_string((i + t) % 7)).Started();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string text = metrics.Render();
  double total = 0;
  for (int i = 0; i < 7; ++i) {
    total += Value(text, "quant_grpc_server_started_total{method=\"m" +
                             std::to_string(i) + "\"}");
  }
  EXPECT_EQ(total, 800);
}

TEST(MetricsTest, JobsQueueWorkersAndStorage) {
  Metrics metrics;
  metrics.queue.SetJobs("QUEUED", 5);
  metrics.queue.SetWaiting("HIGH", 2, 12.5);
  metrics.queue.SetRepeats(2);
  metrics.queue.SetRepeats(3);
  metrics.queue.SetFenced(5);
  metrics.queue.SetCommits(3, 40);
  metrics.queue.SetCommits(4, 60);
  metrics.queue.Waited(0.02);
  metrics.jobs.AttemptEnded("crashed", "WORKER_CRASHED", 1);
  metrics.jobs.Completed("gptq", "failed", "POISON", 3, 9);
  metrics.jobs.Stage("QUANTIZING", 2.5);
  metrics.jobs.TensorsRedone(1);
  metrics.jobs.TensorsResumed(7);
  metrics.workers.SetCapacity(2);
  metrics.workers.SetSlots(1, 1, 0);
  metrics.storage.SetFree(1000);
  metrics.watch.Opened();
  metrics.watch.Opened();
  metrics.watch.Closed("final");
  const std::string text = metrics.Render();
  EXPECT_EQ(Value(text, "quant_queue_jobs{state=\"QUEUED\"}"), 5);
  const std::string high = "{priority=\"HIGH\"}";
  EXPECT_EQ(Value(text, "quant_queue_oldest_age_seconds" + high), 12.5);
  EXPECT_EQ(Value(text, "quant_queue_waiting_jobs" + high), 2);
  EXPECT_EQ(Value(text, "quant_dedup_total{kind=\"request\"}"), 3);
  EXPECT_EQ(Value(text, "quant_fenced_writes_total"), 5);
  EXPECT_EQ(Value(text, "quant_db_commits_total"), 4);
  EXPECT_EQ(Value(text, "quant_db_commands_total"), 60);
  EXPECT_EQ(Value(text, "quant_queue_wait_seconds_count"), 1);
  EXPECT_THAT(text, HasSubstr("reason=\"POISON\""));
  EXPECT_EQ(Value(text, "quant_tensors_redone_total"), 1);
  EXPECT_EQ(Value(text, "quant_tensors_resumed_total"), 7);
  EXPECT_EQ(Value(text, "quant_workers{state=\"busy\"}"), 1);
  EXPECT_EQ(Value(text, "quant_storage_free_bytes"), 1000);
  EXPECT_EQ(Value(text, "quant_watch_active"), 1);
  EXPECT_EQ(Value(text, "quant_watch_closed_total{reason=\"final\"}"), 1);
}

TEST(MetricsTest, ProcessNumbersAreReal) {
  Metrics metrics;
  const std::string text = metrics.Render();
  EXPECT_GT(Value(text, "process_resident_memory_bytes"), 1 << 20);
  EXPECT_GE(Value(text, "process_open_fds"), 3);
  EXPECT_GT(Value(text, "process_max_fds"), 3);
  EXPECT_GT(Value(text, "process_cpu_seconds_total"), 0);
  const double start = Value(text, "process_start_time_seconds");
  EXPECT_NEAR(start, static_cast<double>(::time(nullptr)), 600);
  EXPECT_THAT(text, HasSubstr("quant_build_info{version=\""));
}

}  // namespace
}  // namespace quant

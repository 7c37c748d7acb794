#include "tests/server/worker/worker_test_base.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/base/thread_pool.h"
#include "core/container/model_reader.h"
#include "core/container/safetensors.h"
#include "core/recipe/recipe.h"
#include "core/recipe/rpc_status.h"
#include "server/queue/memory_job_store.h"
#include "server/store/local_artifact_store.h"

namespace quant {
namespace fs = std::filesystem;
namespace {

JobRecord Answer(const std::function<void(JobCallback)>& start) {
  std::promise<absl::StatusOr<JobRecord>> promise;
  start([&](absl::StatusOr<JobRecord> answer) {
    promise.set_value(std::move(answer));
  });
  const auto answer = promise.get_future().get();
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? *answer : JobRecord();
}

// Finite values of both signs around 1/64.
std::string RandomBf16(int64_t count, uint64_t seed) {
  std::string bytes(count * 2, '\0');
  uint64_t state = seed * 0x9E3779B97F4A7C15 + 1;
  for (int64_t i = 0; i < count; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    const uint16_t value = (state & 0x80FF) | 0x3C00;
    bytes[2 * i] = static_cast<char>(value);
    bytes[2 * i + 1] = static_cast<char>(value >> 8);
  }
  return bytes;
}

// The parent in the text of /proc/PID/stat; -1 for a zombie.
pid_t ParentOf(const fs::path& process) {
  std::ifstream in(process / "stat");
  std::string text(std::istreambuf_iterator<char>(in), {});
  const size_t end = text.rfind(')');
  if (end == std::string::npos || text.size() < end + 5) return -1;
  if (text[end + 2] == 'Z' || text[end + 2] == 'X') return -1;
  return std::atoi(text.c_str() + end + 4);
}

}  // namespace

Tree ReadTree(const std::string& directory) {
  Tree tree;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_directory()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    tree[fs::relative(entry.path(), directory).string()] =
        Sha256Hex(std::string(std::istreambuf_iterator<char>(in), {}));
  }
  return tree;
}

void WriteModel(const std::string& directory, int tensors, int64_t out,
                int64_t in) {
  fs::create_directories(directory);
  std::ofstream(directory + "/config.json") << R"({"model_type": "llama"})";
  std::vector<SafetensorsTensor> list;
  for (int i = 0; i < tensors; ++i) {
    list.push_back(
        {.name = absl::StrCat("model.layers.", i, ".mlp.up_proj.weight"),
         .dtype = DType::kBF16,
         .shape = {out, in}});
  }
  const auto layout = LayOutSafetensors(std::move(list));
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::ofstream file(directory + "/model.safetensors", std::ios::binary);
  file << layout->header;
  for (int i = 0; i < tensors; ++i) file << RandomBf16(out * in, i + 1);
}

std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (ParentOf(entry.path()) == ::getpid()) {
      children.push_back(std::atoi(name.c_str()));
    }
  }
  return children;
}

bool Eventually(const std::function<bool()>& done) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

pid_t WaitForChild(const std::vector<pid_t>& known) {
  pid_t found = -1;
  EXPECT_TRUE(Eventually([&] {
    for (const pid_t child : Children()) {
      if (std::count(known.begin(), known.end(), child) == 0) found = child;
    }
    return found > 0;
  })) << "no child process came";
  return found;
}

bool Signal(pid_t child, int signal) {
  return child > 0 && ::kill(child, signal) == 0;
}

WorkerTest::WorkerTest() {
  std::string pattern = ::testing::TempDir() + "quant-worker-XXXXXX";
  root_ = ::mkdtemp(pattern.data());
  auto store = OpenLocalArtifactStore(root_ + "/data", {.sync = false});
  EXPECT_TRUE(store.ok()) << store.status();
  artifacts_ = *std::move(store);
  logs_ = *JobLogs::Open(root_ + "/data");
  OpenJobs({.backoff_base_micros = 1000, .backoff_max_micros = 10'000});
}

WorkerTest::~WorkerTest() {
  pool_.reset();
  jobs_.reset();
  artifacts_.reset();
  EXPECT_TRUE(Children().empty()) << "a child outlives its pool";
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

void WorkerTest::OpenJobs(QueueOptions options, const Clock* clock) {
  jobs_ =
      MakeMemoryJobStore(options, clock == nullptr ? Clock::System() : *clock);
}

void WorkerTest::StartPool(const std::function<void(WorkerOptions&)>& change) {
  WorkerOptions options{.owner = "test", .sync = false};
  options.poll_micros = 50'000;
  options.timing.heartbeat_micros = 100'000;
  if (change) change(options);
  pool_ = std::make_unique<WorkerPool>(
      WorkerStores{*jobs_, *artifacts_, *logs_}, metrics_,
      [](const v1::Source& source) -> absl::StatusOr<std::string> {
        if (PathExists(source.server_path())) return source.server_path();
        return MakeError(absl::StatusCode::kFailedPrecondition,
                         Reason::kSourceMissing, source.server_path());
      },
      options);
}

std::string WorkerTest::SmallModel() {
  const std::string path = root_ + "/small";
  if (!fs::exists(path)) WriteModel(path, 4, 64, 256);
  return path;
}

std::string WorkerTest::SlowModel() {
  const std::string path = root_ + "/slow";
  if (!fs::exists(path)) WriteModel(path, kSlowTensors, 1024, 1024);
  return path;
}

v1::JobSpec WorkerTest::Spec(const std::string& model,
                             const std::string& scale) {
  v1::JobSpec spec;
  spec.mutable_source()->set_server_path(model);
  v1::Output& output = *spec.add_outputs();
  output.mutable_recipe()->set_scheme("W4A16");
  output.mutable_recipe()->set_scale(scale);
  const auto canonical = CanonicalSpec(spec);
  EXPECT_TRUE(canonical.ok()) << canonical.status();
  return *canonical;
}

std::string WorkerTest::EnqueueBytes(const std::string& spec) {
  return Answer([&](JobCallback done) {
           jobs_->Enqueue({.spec = spec}, std::move(done));
         })
      .id;
}

std::string WorkerTest::Enqueue(const v1::JobSpec& spec) {
  return EnqueueBytes(spec.SerializeAsString());
}

JobRecord WorkerTest::Job(const std::string& id) {
  const auto job = jobs_->Get(id);
  EXPECT_TRUE(job.ok()) << job.status();
  return job.ok() ? *job : JobRecord();
}

JobRecord WorkerTest::WaitFor(
    const std::string& id, const std::function<bool(const JobRecord&)>& done) {
  JobRecord job;
  EXPECT_TRUE(Eventually([&] {
    job = Job(id);
    return done(job);
  })) << "the job stays "
      << JobStateName(job.state) << " " << job.state_reason;
  return job;
}

JobRecord WorkerTest::WaitForEnd(const std::string& id) {
  return WaitFor(id,
                 [](const JobRecord& job) { return IsTerminal(job.state); });
}

JobRecord WorkerTest::WaitForState(const std::string& id, JobState state) {
  return WaitFor(id, [&](const JobRecord& job) { return job.state == state; });
}

void WorkerTest::WaitForHalf(const std::string& id) {
  v1::Progress progress;
  WaitFor(id, [&](const JobRecord& job) {
    return progress.ParseFromString(job.progress) &&
           progress.tensors_done() >= 4;
  });
  ASSERT_LT(progress.tensors_done(), kSlowTensors) << "the model is too small";
}

void WorkerTest::Cancel(const std::string& id) {
  Answer(
      [&](JobCallback done) { jobs_->RequestCancel(id, "", std::move(done)); });
}

ExecuteResult WorkerTest::ExecuteIn(const v1::JobSpec& spec,
                                    const std::string& work) {
  const auto model = OpenModel(spec.source().server_path());
  EXPECT_TRUE(model.ok()) << model.status();
  const auto request = ToPlanRequest(spec, 1);
  EXPECT_TRUE(request.ok()) << request.status();
  const auto plan = MakePlan(**model, *request);
  EXPECT_TRUE(plan.ok()) << plan.status();
  ThreadPool pool(2);
  const auto result =
      Execute(**model, *plan, {.work_dir = work, .pool = &pool, .sync = false});
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *result : ExecuteResult();
}

std::map<std::string, Tree> WorkerTest::Direct(const v1::JobSpec& spec) {
  std::map<std::string, Tree> outputs;
  const std::string work = root_ + "/direct";
  fs::remove_all(work);
  for (const ExecutedOutput& output : ExecuteIn(spec, work).outputs) {
    outputs[output.name] = ReadTree(output.directory);
  }
  return outputs;
}

std::map<std::string, Tree> WorkerTest::Published(const std::string& id) {
  std::map<std::string, Tree> outputs;
  const auto records = artifacts_->List({.job_id = id, .limit = 100});
  EXPECT_TRUE(records.ok()) << records.status();
  for (const ArtifactRecord& record : *records) {
    Tree& tree = outputs[record.output];
    EXPECT_TRUE(tree.empty()) << record.output << " is published twice";
    for (const StoredFile& file : record.files) {
      const auto reader = artifacts_->Open(record.id, file.path);
      EXPECT_TRUE(reader.ok()) << reader.status();
      std::string bytes(file.size_bytes, '\0');
      EXPECT_TRUE((*reader)
                      ->ReadAt(0, absl::MakeSpan(
                                      reinterpret_cast<uint8_t*>(bytes.data()),
                                      bytes.size()))
                      .ok());
      tree[file.path] = Sha256Hex(bytes);
    }
  }
  return outputs;
}

bool WorkerTest::HasWork(const std::string& id) {
  return fs::exists(fs::path(root_) / "data" / "work" / id);
}

worker::v1::AttemptResult WorkerTest::ResultOf(const JobRecord& job) {
  worker::v1::AttemptResult result;
  EXPECT_TRUE(result.ParseFromString(job.result));
  return result;
}

Reason WorkerTest::ErrorOf(const JobRecord& job) {
  google::rpc::Status status;
  EXPECT_TRUE(status.ParseFromString(job.error));
  return GetReason(FromRpcStatus(status));
}

}  // namespace quant

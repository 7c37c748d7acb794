// Work that is stopped, killed or damaged goes on and gives the same bytes.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/pipeline/journal.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using Tree = std::map<std::string, std::string>;

class ResumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<TensorSpec> tensors = LlamaTensors(256, 512);
    tensors.push_back({"model.layers.2.mlp.down_proj.weight", {2048, 512}});
    WriteModel(model(), tensors);
    request_.outputs = {Request("W4A16"), Request("FP8_DYNAMIC")};
    const auto result = RunPipeline(model(), request_, dir_ / "undisturbed");
    ASSERT_TRUE(result.ok()) << result.status();
    expected_ = ReadTree(dir_ / "undisturbed/outputs");
    total_ = result->tensors_total;
    ASSERT_FALSE(expected_.empty());
  }

  std::string model() const { return dir_ / "model"; }
  std::string work() const { return dir_ / "work"; }

  // Runs to the end in work() and compares with the undisturbed run.
  absl::StatusOr<ExecuteResult> Finish(int threads = 2) {
    auto result = RunPipeline(model(), request_, work(), threads);
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(ReadTree(work() + "/outputs") == expected_)
        << "the bytes differ from an undisturbed run";
    return result;
  }

  TempDir dir_;
  PlanRequest request_;
  Tree expected_;
  int64_t total_ = 0;
};

TEST_F(ResumeTest, StoppedAfterEachTensorItGoesOnWhereItWas) {
  int64_t stops = 0, done = 0;
  while (true) {
    std::stop_source stop;
    ExecuteOptions options;
    options.stop = stop.get_token();
    options.journal = [&](int64_t tensors) {
      done = tensors;
      if (tensors % 3 == 0) stop.request_stop();
    };
    // Never more than was journalled is done again.
    const auto result = RunPipeline(model(), request_, work(), 3, options);
    if (result.ok()) {
      EXPECT_GE(result->tensors_resumed, total_ - 3);
      EXPECT_LE(result->tensors_redone, stops);
      break;
    }
    ASSERT_EQ(result.status().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(GetReason(result.status()), Reason::kCancelled);
    ASSERT_LT(++stops, total_ + 1) << "no progress";
    EXPECT_GT(done, 0);
  }
  EXPECT_GE(stops, total_ / 3 - 1);
  const auto again = Finish();
  EXPECT_EQ(again->tensors_resumed, total_) << "finished work is not redone";
}

// A stop in the middle of a tensor is answered between tiles, not at its end.
TEST_F(ResumeTest, StopsBetweenTiles) {
  TempDir dir;
  WriteModel(dir / "model",
             {{"model.layers.0.mlp.down_proj.weight", {40'000, 256}}});
  std::stop_source stop;
  std::atomic<int> reports{0};
  ExecuteOptions options;
  options.stop = stop.get_token();
  // The first report comes before any tile.
  options.progress = [&](const ProgressUpdate&) {
    if (++reports == 1) stop.request_stop();
  };
  const auto result = RunPipeline(
      dir / "model", {.outputs = {Request("W4A16")}}, dir / "work", 2, options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(reports, 1) << "no report of an end";
}

TEST_F(ResumeTest, StoppedAtRandomMoments) {
  std::mt19937 random(4);
  int64_t stops = 0;
  for (int round = 0; round < 12; ++round) {
    std::stop_source stop;
    ExecuteOptions options;
    options.stop = stop.get_token();
    std::thread stopper([&, micros = random() % 6000] {
      std::this_thread::sleep_for(std::chrono::microseconds(micros));
      stop.request_stop();
    });
    const auto result = RunPipeline(model(), request_, work(), 2, options);
    stopper.join();
    if (result.ok()) break;
    ASSERT_EQ(result.status().code(), absl::StatusCode::kCancelled);
    ++stops;
  }
  const auto result = Finish();
  EXPECT_LE(result->tensors_redone, stops);
}

// A child process that is killed without warning; the parent goes on.
void RunAndKill(const std::string& model, const PlanRequest& request,
                const std::string& work, int micros) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto result = RunPipeline(model, request, work);
    ::_exit(result.ok() ? 0 : 1);
  }
  std::this_thread::sleep_for(std::chrono::microseconds(micros));
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  // Killed, or done before.
  ASSERT_TRUE(WIFSIGNALED(status) ||
              (WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_F(ResumeTest, KilledTwentyTimesItLosesAtMostATensorEachTime) {
  std::mt19937 random(static_cast<unsigned>(::getpid()));
  for (int round = 0; round < 20; ++round) {
    ASSERT_NO_FATAL_FAILURE(RunAndKill(model(), request_, work(),
                                       static_cast<int>(random() % 25'000)));
    if (round % 5 != 4) continue;
    const auto result = Finish(1 + round % 3);
    EXPECT_LE(result->tensors_redone, 5);
    ASSERT_TRUE(RemoveTree(work()).ok());
  }
}

// Temporary files of a killed attempt never reach the artifact.
TEST_F(ResumeTest, StraysAreNotPublished) {
  ASSERT_TRUE(Finish().ok());
  const std::string output = work() + "/outputs/W4A16";
  WriteAll(output + "/config.json.tmp.123.0", "{");
  WriteAll(output + "/model-00001-of-00002.safetensors", "old");
  std::filesystem::create_directories(output + "/folder/deep");
  WriteAll(output + "/folder/deep/file", "x");
  ASSERT_TRUE(Finish().ok());
  EXPECT_FALSE(PathExists(output + "/folder"));
}

TEST_F(ResumeTest, JournalCutAnywhereIsTakenAsFarAsItGoes) {
  ASSERT_TRUE(Finish().ok());
  const std::string path = work() + "/journal";
  const std::string journal = ReadAll(path);
  std::mt19937 random(8);
  std::vector<size_t> cuts = {journal.size()};
  while (cuts.back() > 0) {
    const size_t step = 1 + random() % (cuts.back() > 400 ? 200 : 40);
    cuts.push_back(cuts.back() - std::min(step, cuts.back()));
  }
  int64_t resumed = total_;
  for (size_t cut : cuts) {
    WriteAll(path, journal.substr(0, cut));
    const auto result = Finish();
    ASSERT_TRUE(result.ok());
    EXPECT_LE(result->tensors_resumed, resumed) << cut;
    EXPECT_GE(result->tensors_resumed, resumed - 2) << cut;
    resumed = result->tensors_resumed;
    EXPECT_LE(result->tensors_redone, 1);
  }
  EXPECT_EQ(resumed, 0);
}

// Every single byte of a small journal: opening never fails and never invents.
TEST_F(ResumeTest, JournalSurvivesEveryCutAndEveryFlip) {
  const std::string path = dir_ / "journal";
  bool fresh = false;
  {
    auto journal = Journal::Open(path, "0123", &fresh);
    ASSERT_TRUE(journal.ok());
    EXPECT_TRUE(fresh);
    for (int i = 0; i < 4; ++i) {
      DoneTensor record{.digest = 77u + i, .outputs = {}};
      record.outputs.push_back(
          {.sums = {.noise = 0.1, .signal = 1e300}, .zeroed = i});
      ASSERT_TRUE(journal->Begin(i).ok());
      ASSERT_TRUE(journal->Done(i, record).ok());
    }
  }
  const std::string text = ReadAll(path);
  const auto check = [&](const std::string& damaged) {
    WriteAll(path, damaged);
    auto journal = Journal::Open(path, "0123", &fresh);
    ASSERT_TRUE(journal.ok()) << journal.status();
    for (const auto& [tensor, record] : journal->done()) {
      ASSERT_GE(tensor, 0);
      ASSERT_LT(tensor, 4);
      ASSERT_EQ(record.digest, 77u + tensor);
      ASSERT_EQ(record.outputs[0].sums.noise, 0.1);
      ASSERT_EQ(record.outputs[0].sums.signal, 1e300);
      ASSERT_EQ(record.outputs[0].zeroed, tensor);
    }
    // What follows a damaged line is dropped for good: new lines are read.
    ASSERT_TRUE(journal->Begin(9).ok());
    ASSERT_TRUE(journal->Done(9, {.digest = 5, .outputs = {}}).ok());
    const size_t before = journal->done().size();
    auto again = Journal::Open(path, "0123", &fresh);
    ASSERT_TRUE(again.ok());
    EXPECT_FALSE(fresh);
    ASSERT_EQ(again->done().size(), before);
  };
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    ASSERT_NO_FATAL_FAILURE(check(text.substr(0, cut))) << "cut at " << cut;
  }
  for (size_t at = 0; at < text.size(); ++at) {
    std::string flipped = text;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
    ASSERT_NO_FATAL_FAILURE(check(flipped)) << "flip at " << at;
  }
}

TEST_F(ResumeTest, DamagedOutputBytesAreMadeAgain) {
  ASSERT_TRUE(Finish().ok());
  const std::string path = work() + "/outputs/W4A16/model.safetensors";
  const std::string bytes = ReadAll(path);
  std::mt19937 random(6);
  for (int trial = 0; trial < 6; ++trial) {
    std::string damaged = bytes;
    damaged[random() % bytes.size()] ^= 0x10;
    WriteAll(path, damaged);
    const auto result = Finish();
    EXPECT_GE(result->tensors_resumed, total_ - 1);
  }
  // Cut off, or gone.
  WriteAll(path, bytes.substr(0, bytes.size() / 2));
  ASSERT_TRUE(Finish().ok());
  ASSERT_TRUE(RemoveTree(path).ok());
  ASSERT_TRUE(Finish().ok());
}

TEST_F(ResumeTest, AnotherRecipeStartsOver) {
  ASSERT_TRUE(Finish().ok());
  const auto other =
      RunPipeline(model(), {.outputs = {Request("W8A16")}}, work());
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->tensors_resumed, 0);
  EXPECT_EQ(other->tensors_redone, 0);
  std::vector<std::string> folders;
  for (const auto& entry :
       std::filesystem::directory_iterator(work() + "/outputs")) {
    folders.push_back(entry.path().filename().string());
  }
  EXPECT_EQ(folders, std::vector<std::string>({"W8A16"}));
  const auto back = Finish();
  EXPECT_EQ(back->tensors_resumed, 0);
}

TEST_F(ResumeTest, ATouchedSourceStartsOver) {
  ASSERT_TRUE(Finish().ok());
  const std::string weights = model() + "/model.safetensors";
  std::filesystem::last_write_time(
      weights,
      std::filesystem::last_write_time(weights) + std::chrono::seconds(5));
  const auto result = Finish();
  EXPECT_EQ(result->tensors_resumed, 0);
}

TEST_F(ResumeTest, OneProcessAtATime) {
  ASSERT_TRUE(MakeDirectories(work()).ok());
  // Held by another process.
  int ready[2], release[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(release), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = FileLock::Acquire(work() + "/lock");
    char byte = lock.ok() ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    if (::read(release[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  const auto refused = RunPipeline(model(), request_, work());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(refused.status()), Reason::kWorkDirLocked);
  ASSERT_EQ(::write(release[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(Finish().ok());
  for (int fd : {ready[0], ready[1], release[0], release[1]}) ::close(fd);
}

}  // namespace
}  // namespace quant

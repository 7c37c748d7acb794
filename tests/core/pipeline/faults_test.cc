// What goes wrong around a run: bad weights, sources that change, full disks,
// and bounds on memory.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/sanitizer.h"
#include "core/container/safetensors.h"
#include "core/pipeline/publish.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

constexpr uint32_t kBf16NaN = 0x7FC1;
constexpr uint32_t kBf16Infinity = 0xFF80;
constexpr char kDown[] = "model.layers.0.mlp.down_proj.weight";
constexpr char kNorm[] = "model.layers.0.input_layernorm.weight";

// Runs `body` in a child process and answers its exit status.
int InChild(const std::function<int()>& body) {
  const pid_t child = ::fork();
  EXPECT_GE(child, 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST(Nonfinite, TheErrorNamesTensorAndIndex) {
  for (uint32_t bits : {kBf16NaN, kBf16Infinity}) {
    for (const char* tensor : {kDown, kNorm}) {
      TempDir dir;
      WriteModel(dir / "model", LlamaTensors(128, 256));
      PatchElement(dir / "model", tensor, 77, bits);
      const auto result = RunPipeline(
          dir / "model", {.outputs = {Request("W4A16")}}, dir / "work");
      ASSERT_FALSE(result.ok()) << tensor;
      EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(GetReason(result.status()), Reason::kNonfiniteWeights);
      const std::string message(result.status().message());
      EXPECT_NE(message.find(tensor), std::string::npos) << message;
      EXPECT_NE(message.find("element 77 "), std::string::npos) << message;
    }
  }
}

// In a tensor of several tiles, the index is the tensor's, not the tile's.
TEST(Nonfinite, TheIndexCountsFromTheStartOfTheTensor) {
  TempDir dir;
  WriteModel(dir / "model", {{kDown, {2000, 256}}, {kNorm, {400'000}}});
  for (auto [tensor, index] :
       {std::pair{kDown, 1999 * 256 + 255}, {kNorm, 399'999}}) {
    TempDir copy;
    std::filesystem::copy(dir / "model", copy / "model",
                          std::filesystem::copy_options::recursive);
    PatchElement(copy / "model", tensor, index, kBf16NaN);
    for (const char* scheme : {"W4A16", "W4A16_ASYM", "FP8_BLOCK"}) {
      OutputRequest request = Request(scheme);
      request.on_mismatch = OnMismatch::kChannel;
      const auto result =
          RunPipeline(copy / "model", {.outputs = {request}}, copy / scheme);
      ASSERT_FALSE(result.ok());
      EXPECT_NE(
          result.status().message().find(absl::StrCat("element ", index, " ")),
          absl::string_view::npos)
          << result.status();
    }
  }
}

TEST(Nonfinite, ZeroMapsCountsAndEqualsAModelOfZeros) {
  TempDir dir;
  for (const char* name : {"bad", "good"}) {
    WriteModel(dir / name, LlamaTensors(128, 256));
  }
  for (const char* tensor : {kDown, kNorm}) {
    PatchElement(dir / "bad", tensor, 3, kBf16NaN);
    PatchElement(dir / "bad", tensor, 9, kBf16Infinity);
    PatchElement(dir / "good", tensor, 3, 0);
    PatchElement(dir / "good", tensor, 9, 0);
  }
  // One output copies what the other one quantizes.
  std::vector<OutputRequest> outputs = {Request("W4A16"), Request("W8A8")};
  outputs[1].rules = {{"mlp.down", std::nullopt}};
  for (OutputRequest& output : outputs) output.nonfinite = Nonfinite::kZero;
  const auto bad =
      RunPipeline(dir / "bad", {.outputs = outputs}, dir / "work-bad");
  const auto good =
      RunPipeline(dir / "good", {.outputs = outputs}, dir / "work-good");
  ASSERT_TRUE(bad.ok()) << bad.status();
  ASSERT_TRUE(good.ok()) << good.status();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(bad->outputs[i].metrics.at("nonfinite_zeroed"), 4);
    EXPECT_EQ(good->outputs[i].metrics.at("nonfinite_zeroed"), 0);
    EXPECT_EQ(ReadAll(bad->outputs[i].directory + "/model.safetensors"),
              ReadAll(good->outputs[i].directory + "/model.safetensors"));
  }
}

TEST(Metrics, AnInfiniteErrorIsTheWorstRatioNotAMissingOne) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(128, 256, DType::kF32));
  // -8 steps of FLT_MAX / 7.5 are beyond the largest float.
  PatchElement(dir / "model", kDown, 0, 0xFF7FFFFFu);
  const auto result =
      RunPipeline(dir / "model", {.outputs = {Request("W4A16")}}, dir / "work");
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(result->outputs[0].metrics.count("min_sqnr_db"));
  EXPECT_LT(result->outputs[0].metrics.at("min_sqnr_db"), 0);
}

// Runs with a hook after the first journal line.
absl::Status RunAndInterfere(const TempDir& dir,
                             const std::function<void()>& interfere) {
  ExecuteOptions options;
  options.journal = [&](int64_t done) {
    if (done == 1) interfere();
  };
  return RunPipeline(dir / "model", {.outputs = {Request("W4A16")}},
                     dir / "out.partial", 2, options)
      .status();
}

TEST(Source, TruncatedWhileRunningIsAnError) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(256, 512));
  const std::string weights = dir / "model/model.safetensors";
  const absl::Status status = RunAndInterfere(dir, [&] {
    std::filesystem::resize_file(weights,
                                 std::filesystem::file_size(weights) / 2);
  });
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(GetReason(status) == Reason::kModelMalformed ||
              GetReason(status) == Reason::kSourceChanged)
      << status;
  EXPECT_FALSE(PathExists(dir / "out.partial/outputs/W4A16/manifest.json"));
}

TEST(Source, TouchedWhileRunningIsAnError) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(256, 512));
  const std::string weights = dir / "model/model.safetensors";
  const absl::Status status = RunAndInterfere(dir, [&] {
    std::filesystem::last_write_time(
        weights,
        std::filesystem::last_write_time(weights) + std::chrono::seconds(1));
  });
  EXPECT_EQ(GetReason(status), Reason::kSourceChanged) << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(PathExists(dir / "out.partial/outputs/W4A16/manifest.json"));
}

// A full disk, as the limit on the size of files shows it.
TEST(Disk, WhenItIsFullTheRunFailsBeforeAnyWork) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(256, 512));
  const int code = InChild([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 10;
    int64_t journalled = 0;
    ExecuteOptions options;
    options.journal = [&](int64_t) { ++journalled; };
    const auto result =
        RunPipeline(dir / "model", {.outputs = {Request("W8A16")}},
                    dir / "out.partial", 2, options);
    if (result.ok()) return 11;
    if (GetReason(result.status()) != Reason::kStorageFull) return 12;
    if (result.status().code() != absl::StatusCode::kResourceExhausted) {
      return 13;
    }
    return journalled == 0 ? 0 : 14;
  });
  EXPECT_EQ(code, 0);
  EXPECT_FALSE(PathExists(dir / "out.partial/outputs/W8A16/manifest.json"));
  // With room again, the same work directory is used.
  EXPECT_TRUE(RunPipeline(dir / "model", {.outputs = {Request("W8A16")}},
                          dir / "out.partial")
                  .ok());
}

// Writing fails half-way, on whichever thread writes for the others.
TEST(Disk, AFailedWriteEndsTheRunAndIsTakenUp) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(256, 512));
  const PlanRequest request = {.outputs = {Request("W8A16")}};
  const auto undisturbed = RunPipeline(dir / "model", request, dir / "whole");
  ASSERT_TRUE(undisturbed.ok());
  for (int threads : {1, 2, 7}) {
    const std::string work = dir / absl::StrCat("work", threads);
    const int code = InChild([&] {
      ::signal(SIGXFSZ, SIG_IGN);
      ExecuteOptions options;
      options.journal = [](int64_t) {
        const rlimit limit{10'000, 10'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
      };
      const auto result =
          RunPipeline(dir / "model", request, work, threads, options);
      if (result.ok()) return 11;
      return GetReason(result.status()) == Reason::kStorageFull ? 0 : 12;
    });
    EXPECT_EQ(code, 0) << threads;
    const auto resumed = RunPipeline(dir / "model", request, work, threads);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_GT(resumed->tensors_resumed, 0);
    EXPECT_EQ(ReadTree(resumed->outputs[0].directory),
              ReadTree(undisturbed->outputs[0].directory));
  }
}

int64_t StatusBytes(const char* key) {
  std::ifstream in("/proc/self/status");
  std::string word;
  int64_t kib = 0;
  while (in >> word) {
    if (word == key) in >> kib;
  }
  return kib * 1024;
}

// A sparse file of zeros: the size is real to the pipeline, the disk is not.
void WriteSparseModel(const std::string& directory,
                      const std::vector<TensorSpec>& tensors) {
  std::filesystem::create_directories(directory);
  WriteAll(directory + "/config.json", R"({"model_type": "llama"})");
  std::vector<SafetensorsTensor> list;
  for (const TensorSpec& tensor : tensors) {
    list.push_back(
        {.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape});
  }
  const auto layout = LayOutSafetensors(std::move(list));
  ASSERT_TRUE(layout.ok()) << layout.status();
  WriteAll(directory + "/model.safetensors", layout->header);
  ASSERT_EQ(
      ::truncate((directory + "/model.safetensors").c_str(), layout->file_size),
      0);
}

// What a sanitizer keeps is several times the bound.
#if !QUANT_SANITIZED
TEST(Memory, PeakStaysBelowThePlannedBoundAndDoesNotGrow) {
  TempDir dir;
  int64_t peaks[2] = {};
  for (int big : {0, 1}) {
    const std::string model = dir / absl::StrCat("model", big);
    // 30 MB, and 300 MB with one tensor of 256 MB.
    std::vector<TensorSpec> tensors = LlamaTensors(1024, 1024);
    if (big == 1) {
      tensors.push_back(
          {"model.layers.9.mlp.down_proj.weight", {131'072, 1024}});
    }
    WriteSparseModel(model, tensors);
    const std::vector<OutputRequest> outputs = {Request("W4A16")};
    const auto plan = PlanModel(model, outputs);
    ASSERT_TRUE(plan.ok()) << plan.status();
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const int code = InChild([&] {
      const auto result = RunPipeline(model, {.outputs = outputs, .threads = 2},
                                      dir / absl::StrCat("work", big));
      const int64_t peak = StatusBytes("VmHWM:");
      if (::write(pipe_ends[1], &peak, sizeof(peak)) != sizeof(peak)) return 2;
      return result.ok() ? 0 : 1;
    });
    ASSERT_EQ(code, 0);
    ASSERT_EQ(::read(pipe_ends[0], &peaks[big], sizeof(int64_t)),
              static_cast<ssize_t>(sizeof(int64_t)));
    EXPECT_LE(peaks[big], plan->memory_bound_bytes);
    for (int end : pipe_ends) ::close(end);
  }
  // Buffers of a fixed size (BufferPool) fill up on a busy machine only.
  EXPECT_LT(peaks[1] - peaks[0], 24 << 20) << peaks[0] << " " << peaks[1];
}
#endif

int64_t BytesReadByThisProcess() {
  std::ifstream in("/proc/self/io");
  std::string key;
  int64_t value = -1;
  in >> key >> value;
  return key == "rchar:" ? value : -1;
}

TEST(Plan, Of140GigabytesTakesNoTimeAndReadsHeadersOnly) {
  TempDir dir;
  std::vector<TensorSpec> tensors = {
      {"model.embed_tokens.weight", {128'256, 8192}},
      {"lm_head.weight", {128'256, 8192}}};
  for (int i = 0; i < 80; ++i) {
    for (TensorSpec tensor : LlamaTensors(8192, 28'672, DType::kBF16, 1)) {
      const size_t at = tensor.name.find("layers.0.");
      if (at == std::string::npos) continue;
      tensor.name.replace(at, 9, absl::StrCat("layers.", i, "."));
      tensors.push_back(tensor);
    }
  }
  WriteSparseModel(dir / "model", tensors);
  ASSERT_GT(std::filesystem::file_size(dir / "model/model.safetensors"),
            140'000'000'000u);
  const int64_t header =
      static_cast<int64_t>((*OpenModel(dir / "model"))->tensors().size() * 200);
  for (const char* scheme : {"W4A16", "W4A16_ASYM", "W8A8", "FP8_BLOCK"}) {
    const int64_t before = BytesReadByThisProcess();
    const auto start = std::chrono::steady_clock::now();
    const auto plan = PlanModel(dir / "model", {Request(scheme)});
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_LT(seconds.count(), 1.0);
    EXPECT_GT(plan->outputs[0].total_bytes, 30'000'000'000);
    EXPECT_LT(plan->memory_bound_bytes, 300'000'000);
    ASSERT_GE(before, 0);
    EXPECT_LT(BytesReadByThisProcess() - before, header + 100'000);
  }
}

// Rows that would not fit a tile are refused when planned, in casts of vectors
// too.
TEST(Plan, RowsBeyondTheLimitAreRefused) {
  TempDir dir;
  const int64_t many = int64_t{1} << 34;
  WriteSparseModel(dir / "vector",
                   {{"model.norm.weight", {many}}, {"model.scalar", {}}});
  for (OnMismatch rule : {OnMismatch::kFail, OnMismatch::kChannel}) {
    OutputRequest request = Request("F16", "safetensors");
    request.on_mismatch = rule;
    const auto plan = PlanModel(dir / "vector", {request});
    ASSERT_FALSE(plan.ok());
    EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused) << plan.status();
  }
  WriteSparseModel(dir / "matrix", {{kDown, {1, many}}});
  for (const char* scheme : {"W4A16", "W4A16_ASYM", "W8A8", "FP8_BLOCK"}) {
    const auto plan = PlanModel(dir / "matrix", {Request(scheme)});
    EXPECT_EQ(GetReason(plan.status()), Reason::kPlanRefused) << plan.status();
  }
}

}  // namespace
}  // namespace quant

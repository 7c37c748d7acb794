#include "core/pipeline/publish.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>

#include "core/artifact/manifest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

class PublishTest : public ::testing::Test {
 protected:
  void SetUp() override { WriteModel(dir_ / "model", LlamaTensors(128, 128)); }

  absl::Status Publish(const std::string& output, bool overwrite = false) {
    return PublishAll(output, overwrite, {Request("W4A16")});
  }

  absl::Status PublishAll(const std::string& output, bool overwrite,
                          const std::vector<OutputRequest>& outputs) {
    const auto work = PrepareOutput(output, overwrite);
    if (!work.ok()) return work.status();
    const auto result =
        RunPipeline(dir_ / "model", {.outputs = outputs}, *work);
    if (!result.ok()) return result.status();
    return PublishOutputs(
        *result,
        {.work_dir = *work, .output_dir = output, .overwrite = overwrite});
  }

  void ExpectArtifact(const std::string& path) {
    const auto report = VerifyArtifact(path);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_TRUE(report->problems.empty()) << report->problems[0];
    EXPECT_GE(report->files, 3);
  }

  // Nothing but the model and `names` is left.
  void ExpectOnly(std::vector<std::string> names) {
    names.push_back("model");
    std::sort(names.begin(), names.end());
    std::vector<std::string> found;
    const auto entries = ListDirectory(dir_.path());
    ASSERT_TRUE(entries.ok());
    for (const DirEntry& entry : *entries) found.push_back(entry.name);
    EXPECT_EQ(found, names);
  }

  TempDir dir_;
};

TEST_F(PublishTest, MakesTheDirectoryAndLeavesNothingElse) {
  ASSERT_TRUE(Publish(dir_ / "out").ok());
  ExpectArtifact(dir_ / "out");
  ExpectOnly({"out"});
}

TEST_F(PublishTest, TakesAnEmptyDirectorySlashesAndMissingParents) {
  fs::create_directories(dir_ / "out");
  ASSERT_TRUE(Publish((dir_ / "out") + std::string(3, '/')).ok());
  ExpectArtifact(dir_ / "out");
  ASSERT_TRUE(Publish(dir_ / "deep/er/out").ok());
  ExpectArtifact(dir_ / "deep/er/out");
  ExpectOnly({"out", "deep"});
}

TEST_F(PublishTest, ALinkToAnEmptyDirectoryIsThatDirectory) {
  fs::create_directories(dir_ / "real");
  fs::create_directory_symlink(dir_ / "real", dir_ / "link");
  const absl::Status status = Publish(dir_ / "link");
  ASSERT_TRUE(status.ok()) << status;
  ExpectArtifact(dir_ / "link");
  EXPECT_TRUE(fs::is_symlink(dir_ / "link"));
  ExpectOnly({"real", "link"});
}

TEST_F(PublishTest, RefusesWhatHoldsAnything) {
  fs::create_directories(dir_ / "out");
  WriteAll(dir_ / "out/notes.txt", "mine");
  const absl::Status status = Publish(dir_ / "out");
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(GetReason(status), Reason::kOutputExists);
  EXPECT_EQ(ReadAll(dir_ / "out/notes.txt"), "mine");
  ExpectOnly({"out"});
  WriteAll(dir_ / "file", "mine");
  EXPECT_EQ(GetReason(Publish(dir_ / "file")), Reason::kOutputExists);
}

// Filled between the check and the end of the work: still refused, and the
// work is not lost.
TEST_F(PublishTest, RefusesWhatWasFilledMeanwhile) {
  const auto work = PrepareOutput(dir_ / "out", false);
  ASSERT_TRUE(work.ok());
  const auto result =
      RunPipeline(dir_ / "model", {.outputs = {Request("W4A16")}}, *work);
  ASSERT_TRUE(result.ok());
  fs::create_directories(dir_ / "out");
  WriteAll(dir_ / "out/notes.txt", "mine");
  const absl::Status status =
      PublishOutputs(*result, {.work_dir = *work, .output_dir = dir_ / "out"});
  EXPECT_EQ(GetReason(status), Reason::kOutputExists);
  EXPECT_EQ(ReadAll(dir_ / "out/notes.txt"), "mine");
  ExpectArtifact(result->outputs[0].directory);
}

TEST_F(PublishTest, OverwriteReplacesTheWhole) {
  fs::create_directories(dir_ / "out/folder");
  WriteAll(dir_ / "out/folder/old.bin", "old");
  ASSERT_TRUE(Publish(dir_ / "out", /*overwrite=*/true).ok());
  ExpectArtifact(dir_ / "out");
  EXPECT_FALSE(PathExists(dir_ / "out/folder"));
  ExpectOnly({"out"});
}

TEST_F(PublishTest, SeveralOutputsAreFoldersByName) {
  ASSERT_TRUE(
      PublishAll(dir_ / "out", false, {Request("W4A16"), Request("W8A8")})
          .ok());
  ExpectArtifact(dir_ / "out/W4A16");
  ExpectArtifact(dir_ / "out/W8A8");
  ExpectOnly({"out"});
}

TEST_F(PublishTest, InterruptedWorkIsResumedByTheNextRun) {
  const auto work = PrepareOutput(dir_ / "out", false);
  ASSERT_TRUE(work.ok());
  std::stop_source stop;
  ExecuteOptions options;
  options.stop = stop.get_token();
  options.journal = [&](int64_t done) {
    if (done == 4) stop.request_stop();
  };
  ASSERT_EQ(RunPipeline(dir_ / "model", {.outputs = {Request("W4A16")}}, *work,
                        1, options)
                .status()
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_FALSE(PathExists(dir_ / "out"));
  const auto again = PrepareOutput(dir_ / "out", false);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *work);
  const auto result =
      RunPipeline(dir_ / "model", {.outputs = {Request("W4A16")}}, *again);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->tensors_resumed, 4);
}

// Killed when the result was in its place and the work directory still there.
TEST_F(PublishTest, WhatWasPublishedIsTakenByTheNextRun) {
  for (const bool overwrite : {false, true}) {
    if (overwrite) WriteAll(dir_ / "out/old.txt", "mine");
    const auto work = PrepareOutput(dir_ / "out", overwrite);
    ASSERT_TRUE(work.ok());
    const auto result =
        RunPipeline(dir_ / "model", {.outputs = {Request("W4A16")}}, *work);
    ASSERT_TRUE(result.ok());
    const Publication publication = {.work_dir = *work,
                                     .output_dir = dir_ / "out",
                                     .overwrite = overwrite,
                                     .fingerprint = "f1",
                                     .report = "a\nb",
                                     .placed = [] { ::raise(SIGKILL); }};
    EXPECT_EXIT(PublishOutputs(*result, publication).IgnoreError(),
                ::testing::KilledBySignal(SIGKILL), "");
    ExpectOnly({"out", "out.partial"});
    // Other work must not call it its own.
    EXPECT_EQ(*TakePublished(dir_ / "out", "f2"), std::nullopt);
    EXPECT_EQ(*TakePublished(dir_ / "out", "f1"), "a\nb");
    ExpectArtifact(dir_ / "out");
    EXPECT_FALSE(PathExists(dir_ / "out/old.txt"));
    ExpectOnly({"out"});
    EXPECT_EQ(*TakePublished(dir_ / "out", "f1"), std::nullopt);
  }
}

TEST_F(PublishTest, WhatSomebodyElsePutThereIsNotTaken) {
  const auto work = PrepareOutput(dir_ / "out", false);
  ASSERT_TRUE(work.ok());
  const auto result =
      RunPipeline(dir_ / "model", {.outputs = {Request("W4A16")}}, *work);
  ASSERT_TRUE(result.ok());
  EXPECT_EXIT(PublishOutputs(*result, {.work_dir = *work,
                                       .output_dir = dir_ / "out",
                                       .fingerprint = "f1",
                                       .placed = [] { ::raise(SIGKILL); }})
                  .IgnoreError(),
              ::testing::KilledBySignal(SIGKILL), "");
  fs::rename(dir_ / "out", dir_ / "mine");
  fs::create_directories(dir_ / "out");
  EXPECT_EQ(*TakePublished(dir_ / "out", "f1"), std::nullopt);
  ExpectOnly({"mine", "out", "out.partial"});
}

}  // namespace
}  // namespace quant

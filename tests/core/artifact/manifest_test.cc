#include "core/artifact/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/digest.h"
#include "core/base/error.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Manifest Example() {
  return {
      .engine_version = "1.2.3",
      .recipe_json = R"({"scheme":"W4A16","rules":[{"skip":true}]})",
      .sources = {{.name = "model.safetensors",
                   .size_bytes = 7,
                   .header_digest = "0123",
                   .sha256 = Sha256Hex("source")},
                  {.name = "text.txt",
                   .size_bytes = 9,
                   .header_digest = "",
                   .sha256 = Sha256Hex("text"),
                   .dataset = {.use = "calibration",
                               .sequences = 2,
                               .sequence_length = 4,
                               .sha256 = Sha256Hex("ids")}}},
      .files = {
          {.path = "a/b.txt", .size_bytes = 5, .sha256 = Sha256Hex("hello")},
          {.path = "model.safetensors",
           .size_bytes = 3,
           .sha256 = Sha256Hex("xyz")}}};
}

TEST(ManifestJson, SurvivesTheRoundTrip) {
  const Manifest before = Example();
  const auto after = ParseManifest(ManifestToJson(before));
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->engine_version, before.engine_version);
  EXPECT_EQ(after->recipe_json, before.recipe_json);
  ASSERT_EQ(after->files.size(), 2u);
  EXPECT_EQ(after->files[0].path, "a/b.txt");
  EXPECT_EQ(after->files[0].size_bytes, 5);
  EXPECT_EQ(after->files[1].sha256, Sha256Hex("xyz"));
  ASSERT_EQ(after->sources.size(), 2u);
  EXPECT_EQ(after->sources[0].name, "model.safetensors");
  EXPECT_EQ(after->sources[0].size_bytes, 7);
  EXPECT_EQ(after->sources[0].header_digest, "0123");
  EXPECT_EQ(after->sources[0].sha256, Sha256Hex("source"));
  EXPECT_EQ(after->sources[0].dataset.use, "");
  EXPECT_EQ(after->sources[1].dataset.use, "calibration");
  EXPECT_EQ(after->sources[1].dataset.sequence_length, 4);
  EXPECT_EQ(ManifestToJson(*after), ManifestToJson(before));
}

TEST(ManifestJson, IsJsonWithoutARecipeToo) {
  Manifest manifest = Example();
  manifest.recipe_json = "";
  const std::string text = ManifestToJson(manifest);
  EXPECT_TRUE(nlohmann::json::accept(text)) << text;
}

TEST(ManifestJson, HostileTextIsRefused) {
  const auto with_path = [](const std::string& path) {
    Manifest manifest = Example();
    manifest.files[0].path = path;
    return ManifestToJson(manifest);
  };
  for (const std::string& text :
       {std::string(""), std::string("[]"), std::string("{}"),
        std::string(R"({"files": 3})"), std::string(R"({"files": [3]})"),
        std::string(R"({"files": [{"path": "x"}]})"),
        std::string(
            R"({"files": [{"path": "x", "size_bytes": 1, "sha256": "0"}]})"),
        with_path("../secret"), with_path("/etc/passwd"), with_path("a//b"),
        with_path("a/../../b"), with_path("")}) {
    const auto manifest = ParseManifest(text);
    EXPECT_FALSE(manifest.ok()) << text;
  }
}

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "quant-verify-XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(dir_ + "/a");
    Write("a/b.txt", "hello");
    Write("model.safetensors", "xyz");
    Write(kManifestName, ManifestToJson(Example()));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
  }
  std::vector<std::string> Problems() {
    const auto report = VerifyArtifact(dir_);
    EXPECT_TRUE(report.ok()) << report.status();
    return report->problems;
  }

  std::string dir_;
};

TEST_F(VerifyTest, AGoodArtifactHasNoProblems) {
  const auto report = VerifyArtifact(dir_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_EQ(report->files, 2);
  EXPECT_EQ(report->bytes, 8);
}

TEST_F(VerifyTest, SeesOneChangedByte) {
  Write("model.safetensors", "xyZ");
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("model.safetensors: SHA-256")));
}

TEST_F(VerifyTest, SeesAnotherSize) {
  Write("a/b.txt", "hello!");
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("a/b.txt: is 6 bytes; 5")));
}

TEST_F(VerifyTest, SeesMissingAndExtraFiles) {
  std::filesystem::remove(dir_ + "/model.safetensors");
  Write("a/extra.bin", "?");
  EXPECT_THAT(Problems(), ElementsAre("model.safetensors: missing",
                                      "a/extra.bin: not listed"));
}

TEST_F(VerifyTest, WithoutAManifestNothingIsFound) {
  std::filesystem::remove(dir_ + "/manifest.json");
  EXPECT_EQ(VerifyArtifact(dir_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quant

// Texts for jobs: cut by the model's own tokenizer, whatever the model is
// stored as, and refused before any work.
#include "core/pipeline/request_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/tokenizer/tokenizer.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

const std::string kExamples = std::string(QUANT_SOURCE_DIR) + "/examples";
const std::string kModel = kExamples + "/tiny-own-pad768-bf16";

std::string Prose() {
  std::string text;
  for (int i = 0; i < 60; ++i) {
    absl::StrAppend(&text, "It was the best of times, chapter ", i, ".\n");
  }
  return text;
}

class RequestFiles : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& bytes) {
    WriteAll(dir_ / name, bytes);
    return dir_ / name;
  }

  static absl::StatusOr<DatasetFile> Load(const TextSource& source,
                                          const std::string& model = kModel) {
    const auto opened = OpenModel(model);
    if (!opened.ok()) return opened.status();
    return LoadText(**opened, source, "calibration");
  }

  absl::Status ErrorOf(const std::string& name, const std::string& bytes,
                       int64_t length = 64) {
    return Load({.path = Write(name, bytes), .sequence_length = length})
        .status();
  }

  TempDir dir_;
};

TEST_F(RequestFiles, TextIsThatOfTheModelsTokenizer) {
  const auto tokenizer = Tokenizer::Open(kModel);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string path = Write("prose.txt", Prose());
  for (BosPolicy bos : {BosPolicy::kDocument, BosPolicy::kSequence}) {
    const auto expected =
        LoadDataset(path, tokenizer->get(),
                    {.sequence_length = 256, .max_sequences = 2, .bos = bos});
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto text = Load({.path = path, .max_sequences = 2, .bos = bos});
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(text->data.ids, expected->ids);
    EXPECT_EQ(text->data.sequence_length, 256);  // the model's own context
    EXPECT_EQ(text->name, "prose.txt");
    EXPECT_EQ(text->sha256, Sha256Hex(Prose()));
    EXPECT_EQ(text->size_bytes, static_cast<int64_t>(Prose().size()));
  }
}

TEST_F(RequestFiles, GgufModelsHaveTheirTokenizerInThem) {
  OutputRequest request = Request("F16", "gguf");
  const auto made = RunPipeline(kModel, {.outputs = {request}}, dir_ / "work");
  ASSERT_TRUE(made.ok()) << made.status();
  const TextSource source{.path = Write("prose.txt", Prose())};
  const auto from_gguf =
      Load(source, made->outputs[0].directory + "/model-F16.gguf");
  ASSERT_TRUE(from_gguf.ok()) << from_gguf.status();
  const auto from_checkpoint = Load(source);
  ASSERT_TRUE(from_checkpoint.ok()) << from_checkpoint.status();
  EXPECT_EQ(from_gguf->data.digest, from_checkpoint->data.digest);
}

TEST_F(RequestFiles, WhatCanNotBeUsedIsRefused) {
  const auto expect = [](const absl::Status& status, const char* text) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(status.message(), HasSubstr(text));
    EXPECT_EQ(status.message().substr(0, 13), "calibration: ");
    EXPECT_EQ(GetField(status).substr(0, 11), "calibration");
  };
  expect(ErrorOf("a.txt", "\n \n"), "a.txt: the text is empty");
  expect(ErrorOf("a.txt", std::string("PK\0\3", 4)), "the file is binary");
  expect(ErrorOf("a.txt", "caf\xe9 au lait"), "is not UTF-8");
  expect(ErrorOf("a.txt", "short"), "a sequence has 64");
  expect(ErrorOf("a.jsonl", "{\"txt\": 1}"), "line 1");
  expect(ErrorOf("a.txt", Prose(), 257), "takes 2 to 256");
  expect(ErrorOf("a.txt", Prose(), 1), "takes 2 to 256");
}

TEST_F(RequestFiles, TextsOfJobsAreBounded) {
  const auto large = ErrorOf("a.txt", std::string((16 << 20) + 1, 'a'));
  EXPECT_EQ(large.code(), absl::StatusCode::kResourceExhausted) << large;
  EXPECT_THAT(large.message(), HasSubstr("at most 16777216"));
}

TEST_F(RequestFiles, TextNeedsATokenizer) {
  WriteModel(dir_ / "model", LlamaTensors(64, 96), 1,
             ReadAll(kModel + "/config.json"));
  const auto text = Load({.path = Write("prose.txt", Prose())}, dir_ / "model");
  EXPECT_THAT(text.status().message(), HasSubstr("tokenizer.json"));
  const auto ids =
      Load({.path = kExamples + "/tokens/tiny-own_sampled_calib.npy"},
           dir_ / "model");
  EXPECT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->data.sequences, 64);
}

}  // namespace
}  // namespace quant

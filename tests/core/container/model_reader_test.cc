#include "core/container/model_reader.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/container/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/core/container/model_files.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A good file of one U8 tensor with `n` bytes 0, 1, 2...
std::string OneTensor(absl::string_view name, int64_t n) {
  return SafetensorsBytes(
      absl::StrCat("{\"", name, "\":{\"dtype\":\"U8\",\"shape\":[", n,
                   "],\"data_offsets\":[0,", n, "]}}"),
      n);
}

std::vector<std::string> Names(const std::vector<TensorEntry>& tensors) {
  std::vector<std::string> names;
  for (const TensorEntry& tensor : tensors) names.push_back(tensor.name);
  return names;
}

std::vector<std::string> Names(const std::vector<SideFile>& files) {
  std::vector<std::string> names;
  for (const SideFile& file : files) names.push_back(file.name);
  return names;
}

constexpr char kTwoShards[] =
    "{\"metadata\":{\"total_size\":9},\"weight_map\":{"
    "\"b\":\"model-00001-of-00002.safetensors\","
    "\"a\":\"model-00002-of-00002.safetensors\"}}";

void WriteTwoShards(const TempDir& dir) {
  dir.Write("model.safetensors.index.json", kTwoShards);
  dir.Write("model-00001-of-00002.safetensors", OneTensor("b", 5));
  dir.Write("model-00002-of-00002.safetensors", OneTensor("a", 4));
}

TEST(OpenModelTest, ReadsADirectory) {
  TempDir dir;
  const std::string json =
      "{\"z\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
      "\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]}}";
  dir.Write("model.safetensors", SafetensorsBytes(json, 16));
  dir.Write("config.json", "{\"model_type\":\"llama\"}");
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->path(), dir.path());
  EXPECT_EQ((*model)->config_json(), "{\"model_type\":\"llama\"}");
  ASSERT_THAT(Names((*model)->tensors()), ElementsAre("a", "z"));
  const TensorEntry& a = (*model)->tensors()[0];
  EXPECT_EQ(a.dtype, DType::kBF16);
  EXPECT_THAT(a.shape, ElementsAre(2, 3));
  EXPECT_EQ(a.offset, 8 + static_cast<int64_t>(json.size()) + 4);
  EXPECT_EQ(a.bytes, 12);
  ASSERT_EQ((*model)->files().size(), 1u);
  EXPECT_EQ((*model)->files()[0].name, "model.safetensors");
  EXPECT_EQ((*model)->files()[0].header_digest, Xxh3Hex(json));
  EXPECT_EQ((*model)->weight_path(0), dir.File("model.safetensors"));
  EXPECT_TRUE((*model)->CheckUnchanged().ok());
}

TEST(OpenModelTest, ReadsBytesWithinTheTensorOnly) {
  TempDir dir;
  dir.Write("model.safetensors", OneTensor("w", 10));
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok());
  const TensorEntry& w = (*model)->tensors()[0];
  std::vector<uint8_t> out(4);
  ASSERT_TRUE((*model)->Read(w, 6, absl::MakeSpan(out)).ok());
  EXPECT_THAT(out, ElementsAre(6, 7, 8, 9));
  EXPECT_TRUE((*model)->Read(w, 10, {}).ok());
  EXPECT_FALSE((*model)->Read(w, 7, absl::MakeSpan(out)).ok());
  EXPECT_FALSE((*model)->Read(w, -1, absl::MakeSpan(out)).ok());
  EXPECT_FALSE((*model)->Read(w, 11, {}).ok());
  TensorEntry stray = w;
  stray.file = 1;
  EXPECT_FALSE((*model)->Read(stray, 0, absl::MakeSpan(out)).ok());
}

TEST(OpenModelTest, ReadsShards) {
  TempDir dir;
  WriteTwoShards(dir);
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_THAT(Names((*model)->tensors()), ElementsAre("a", "b"));
  ASSERT_EQ((*model)->files().size(), 2u);
  const TensorEntry& a = (*model)->tensors()[0];
  EXPECT_EQ((*model)->files()[a.file].name, "model-00002-of-00002.safetensors");
  std::vector<uint8_t> out(4);
  ASSERT_TRUE((*model)->Read(a, 0, absl::MakeSpan(out)).ok());
  EXPECT_THAT(out, ElementsAre(0, 1, 2, 3));
}

TEST(OpenModelTest, ReadsMoreShardsThanItKeepsOpen) {
  TempDir dir;
  std::string map;
  for (int i = 0; i < 300; ++i) {
    const std::string shard = absl::StrCat("s", i, ".safetensors");
    dir.Write(shard, OneTensor(absl::StrCat("t", i), 1 + i % 7));
    absl::StrAppend(&map, i == 0 ? "" : ",", "\"t", i, "\":\"", shard, "\"");
  }
  dir.Write("model.safetensors.index.json",
            absl::StrCat("{\"weight_map\":{", map, "}}"));
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ((*model)->tensors().size(), 300u);
  for (const TensorEntry& tensor : (*model)->tensors()) {
    std::vector<uint8_t> out(tensor.bytes, 0xEE);
    ASSERT_TRUE((*model)->Read(tensor, 0, absl::MakeSpan(out)).ok());
    EXPECT_EQ(out.back(), tensor.bytes - 1);
  }
}

TEST(OpenModelTest, ASingleFileWinsOverAnIndex) {
  TempDir dir;
  WriteTwoShards(dir);
  dir.Write("model.safetensors", OneTensor("whole", 3));
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok());
  EXPECT_THAT(Names((*model)->tensors()), ElementsAre("whole"));
}

TEST(OpenModelTest, ReadsABareFileWithoutItsNeighbours) {
  TempDir dir;
  const std::string path = dir.Write("part.safetensors", OneTensor("w", 3));
  dir.Write("config.json", "{}");
  dir.Write("tokenizer.json", "{}");
  const auto model = OpenModel(path);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->path(), path);
  EXPECT_EQ((*model)->config_json(), "");
  EXPECT_TRUE((*model)->side_files().empty());
  EXPECT_EQ((*model)->files()[0].name, "part.safetensors");
}

TEST(OpenModelTest, SideFilesAreThoseOfTheAllowList) {
  TempDir dir;
  dir.Write("model.safetensors", OneTensor("w", 3));
  const std::vector<std::string> carried = {"LICENSE",
                                            "LICENSE-MODEL",
                                            "Licence.md",
                                            "Notice.txt",
                                            "README.md",
                                            "USE_POLICY.md",
                                            "added_tokens.json",
                                            "chat_template.jinja",
                                            "chat_template.json",
                                            "generation_config.json",
                                            "merges.txt",
                                            "preprocessor_config.json",
                                            "processor_config.json",
                                            "special_tokens_map.json",
                                            "tokenizer.json",
                                            "tokenizer.model",
                                            "tokenizer.model.v3",
                                            "tokenizer_config.json",
                                            "vocab.json",
                                            "vocab.txt"};
  const std::vector<std::string> left = {"config.json",
                                         "modeling_x.py",
                                         "tokenizer.py",
                                         "tokenization_x.py",
                                         "LICENSE.bin",
                                         "pytorch_model.bin",
                                         "model.gguf",
                                         "other.model",
                                         "quantize_config.json",
                                         "tokenizer.safetensors",
                                         "stale.safetensors",
                                         ".gitattributes",
                                         "pytorch_model.bin.index.json"};
  for (const auto& name : carried) dir.Write(name, "{}");
  for (const auto& name : left) dir.Write(name, "{}");
  dir.Write("tokenizer.txt/inside", "a directory is not carried");
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Names((*model)->side_files()), carried);
  EXPECT_EQ((*model)->side_files()[0].path, dir.File("LICENSE"));
  EXPECT_EQ((*model)->side_files()[0].size_bytes, 2);
}

// <model>/snapshots/<revision>/x -> ../../blobs/<digest>
TEST(OpenModelTest, FollowsTheLinksOfACache) {
  TempDir dir;
  dir.Write("m/blobs/111", OneTensor("w", 3));
  dir.Write("m/blobs/222", "{\"model_type\":\"llama\"}");
  dir.Write("m/blobs/333", "{}");
  ASSERT_TRUE(MakeDirectories(dir.File("m/snapshots/main")).ok());
  const auto link = [&](const char* blob, const char* name) {
    std::filesystem::create_symlink(
        absl::StrCat("../../blobs/", blob),
        dir.File(absl::StrCat("m/snapshots/main/", name)));
  };
  link("111", "model.safetensors");
  link("222", "config.json");
  link("333", "tokenizer.json");
  const auto model = OpenModel(dir.File("m/snapshots/main"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->config_json(), "{\"model_type\":\"llama\"}");
  EXPECT_EQ((*model)->files()[0].name, "model.safetensors");
  EXPECT_EQ((*model)->weight_path(0), dir.File("m/blobs/111"));
  ASSERT_EQ((*model)->side_files().size(), 1u);
  EXPECT_EQ((*model)->side_files()[0].path, dir.File("m/blobs/333"));
  const auto bare = OpenModel(dir.File("m/snapshots/main/model.safetensors"));
  ASSERT_TRUE(bare.ok()) << bare.status();
  EXPECT_EQ((*bare)->files()[0].name, "model.safetensors");
}

TEST(OpenModelTest, RefusesTextLinkedFromOutside) {
  for (const char* name : {"tokenizer.json", "config.json"}) {
    TempDir dir;
    const std::string secret = dir.Write("secret", "root:x:0");
    dir.Write("m/model.safetensors", OneTensor("w", 3));
    std::filesystem::create_symlink(secret, dir.File(absl::StrCat("m/", name)));
    const auto model = OpenModel(dir.File("m"));
    EXPECT_EQ(GetReason(model.status()), Reason::kSourceNotAllowed) << name;
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(name));
  }
}

TEST(OpenModelTest, SaysWhatIsMissing) {
  TempDir dir;
  auto status = OpenModel(dir.File("nothing")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetReason(status), Reason::kSourceMissing);
  status = OpenModel(dir.path()).status();
  EXPECT_EQ(GetReason(status), Reason::kSourceMissing);
  dir.Write("adapter.safetensors", OneTensor("w", 3));
  status = OpenModel(dir.path()).status();
  EXPECT_EQ(GetReason(status), Reason::kSourceMissing);
  EXPECT_THAT(std::string(status.message()), HasSubstr("adapter.safetensors"));
}

TEST(OpenModelTest, RefusesPickles) {
  TempDir dir;
  dir.Write("pytorch_model.bin", "PK\x03\x04");
  auto status = OpenModel(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(status), Reason::kUnsafeFormat);
  status = OpenModel(dir.File("pytorch_model.bin")).status();
  EXPECT_EQ(GetReason(status), Reason::kUnsafeFormat);
  dir.Write("model.safetensors", "\x80\x02}q\x01.........");
  status = OpenModel(dir.path()).status();
  EXPECT_EQ(GetReason(status), Reason::kUnsafeFormat);
}

// Opening a pipe for reading waits for a writer: it must not be opened.
TEST(OpenModelTest, RefusesPipes) {
  TempDir dir;
  const std::string pipe = dir.File("model.safetensors");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(OpenModel(dir.path()).ok());
  EXPECT_FALSE(OpenModel(pipe).ok());
  dir.Write("model.safetensors.index.json",
            "{\"weight_map\":{\"w\":\"model.safetensors\"}}");
  EXPECT_FALSE(OpenModel(dir.path()).ok());
}

TEST(OpenModelTest, RefusesAConfigBeyondTheCap) {
  TempDir dir;
  dir.Write("model.safetensors", OneTensor("w", 3));
  dir.Write("config.json", std::string((16 << 20) + 1, ' '));
  EXPECT_EQ(OpenModel(dir.path()).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(OpenModelTest, SaysWhereAConfigIsBroken) {
  TempDir dir;
  dir.Write("model.safetensors", OneTensor("w", 3));
  const auto said = [&](const std::string& config) {
    const std::string path = dir.Write("config.json", config);
    const absl::Status status = OpenModel(dir.path()).status();
    EXPECT_EQ(GetReason(status), Reason::kModelMalformed) << config;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path + ": "));
    return std::string(status.message());
  };
  EXPECT_THAT(said(R"({"model_type": "llama",})"),
              HasSubstr("byte 24: not JSON"));
  EXPECT_THAT(said(""), HasSubstr("not JSON"));
  for (const char* other : {"[{}]", "\"llama\"", "7", "1.5", "null", "true"}) {
    EXPECT_THAT(said(other), HasSubstr("not a JSON object")) << other;
  }
  // What is in it is for those who use it to judge.
  dir.Write("config.json", R"({"a": [1, {"b": null}], "a": -1.5, "c": true})");
  EXPECT_TRUE(OpenModel(dir.path()).ok());
}

TEST(OpenModelTest, NoticesThatTheSourceChanged) {
  for (const int64_t size : {2, 100}) {
    TempDir dir;
    const std::string path = dir.Write("model.safetensors", OneTensor("w", 50));
    const auto model = OpenModel(dir.path());
    ASSERT_TRUE(model.ok());
    ASSERT_EQ(::truncate(path.c_str(), size), 0);
    const absl::Status status = (*model)->CheckUnchanged();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(GetReason(status), Reason::kSourceChanged);
    std::vector<uint8_t> out(50);
    EXPECT_EQ(GetReason((*model)->Read((*model)->tensors()[0], 0,
                                       absl::MakeSpan(out))),
              Reason::kSourceChanged);
  }
  TempDir dir;
  const std::string path = dir.Write("model.safetensors", OneTensor("w", 50));
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok());
  ASSERT_EQ(::unlink(path.c_str()), 0);
  EXPECT_EQ(GetReason((*model)->CheckUnchanged()), Reason::kSourceChanged);
}

// The bundled model, and the public ones where they are.
std::vector<std::string> RealModels() {
  std::vector<std::string> models = {
      JoinPath(QUANT_SOURCE_DIR, "examples/tiny-own-pad768-bf16")};
  const char* folder = ::getenv("QUANT_TEST_MODELS");
  const std::string more =
      folder != nullptr ? folder
                        : JoinPath(QUANT_SOURCE_DIR, "../shared/data/models");
  if (const auto entries = ListDirectory(more); entries.ok()) {
    for (const DirEntry& entry : *entries) {
      if (entry.is_directory) models.push_back(JoinPath(more, entry.name));
    }
  }
  return models;
}

// Llama: nine tensors a layer, embeddings, the last norm, and the head when it
// is not tied.
TEST(RealModelsTest, HoldTheTensorsTheirConfigsPromise) {
  for (const std::string& path : RealModels()) {
    const auto model = OpenModel(path);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto config = nlohmann::json::parse((*model)->config_json());
    const size_t expected = config.at("num_hidden_layers").get<size_t>() * 9 +
                            (config.at("tie_word_embeddings") ? 2 : 3);
    EXPECT_EQ((*model)->tensors().size(), expected) << path;
    EXPECT_GE((*model)->side_files().size(), 2u) << path;
    const TensorEntry& last = *std::max_element(
        (*model)->tensors().begin(), (*model)->tensors().end(),
        [](const auto& a, const auto& b) { return a.offset < b.offset; });
    std::vector<uint8_t> bytes(last.bytes);
    EXPECT_TRUE((*model)->Read(last, 0, absl::MakeSpan(bytes)).ok()) << path;
    EXPECT_EQ(last.offset + last.bytes,
              (*model)->files()[0].identity.size_bytes);
  }
}

}  // namespace
}  // namespace quant

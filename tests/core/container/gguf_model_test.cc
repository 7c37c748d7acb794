#include "core/container/gguf_model.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/container/gguf_files.h"
#include "tests/core/container/measure.h"
#include "tests/core/container/model_files.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> TensorNames(const ModelReader& model) {
  std::vector<std::string> names;
  for (const TensorEntry& tensor : model.tensors())
    names.push_back(tensor.name);
  return names;
}

std::vector<GgufTensor> SomeTensors() {
  return {{.name = "z", .type = GgmlType::kQ4_K, .shape = {3, 512}},
          {.name = "n", .type = GgmlType::kF32, .shape = {5}},
          {.name = "e", .type = GgmlType::kBF16, .shape = {2, 3, 4}}};
}

TEST(GgufModelTest, ReadsAFile) {
  TempDir dir;
  const std::string path = WriteGguf(
      dir, "m.gguf",
      std::vector<GgufKv>{{"general.architecture", std::string("llama")},
                          {"general.alignment", uint32_t{32}}},
      SomeTensors());
  const auto model = OpenModel(path);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->path(), path);
  EXPECT_EQ((*model)->weight_path(0), path);
  EXPECT_EQ((*model)->config_json(), "");
  ASSERT_EQ((*model)->files().size(), 1u);
  EXPECT_EQ((*model)->files()[0].name, "m.gguf");
  EXPECT_EQ((*model)->files()[0].header_digest.size(), 32u);
  EXPECT_THAT(TensorNames(**model), ElementsAre("e", "n", "z"));

  const TensorEntry& stack = (*model)->tensors()[0];
  EXPECT_EQ(stack.dtype, DType::kBF16);
  EXPECT_FALSE(stack.block_type);
  EXPECT_EQ(stack.shape, (Shape{2, 3, 4}));
  EXPECT_EQ(TypeName(stack), "BF16");
  const TensorEntry& blocks = (*model)->tensors()[2];
  EXPECT_EQ(blocks.dtype, DType::kU8);
  EXPECT_EQ(blocks.block_type, GgmlType::kQ4_K);
  EXPECT_EQ(blocks.shape, (Shape{3, 512}));
  EXPECT_EQ(blocks.bytes, 3 * 2 * 144);
  EXPECT_EQ(TypeName(blocks), "Q4_K");

  std::vector<uint8_t> bytes(4);
  ASSERT_TRUE((*model)->Read(blocks, 100, absl::MakeSpan(bytes)).ok());
  EXPECT_THAT(bytes, ElementsAre(100, 101, 102, 103));
  EXPECT_FALSE(
      (*model)->Read(blocks, blocks.bytes - 3, absl::MakeSpan(bytes)).ok());
}

TEST(GgufModelTest, ShowsTheKeysOfTheModel) {
  TempDir dir;
  const auto model = GgufModel::OpenFile(
      WriteGguf(dir, "m.gguf",
                std::vector<GgufKv>{{"general.alignment", uint32_t{32}},
                                    {"a", uint32_t{1}},
                                    {"split.count", uint16_t{0}},
                                    {"b", true}},
                SomeTensors()));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->kvs(),
            (std::vector<GgufKv>{{"a", uint32_t{1}}, {"b", true}}));
}

TEST(GgufModelTest, ADirectoryWithOneFileIsAModel) {
  TempDir dir;
  WriteGguf(dir, "m.gguf", {}, SomeTensors());
  dir.Write("LICENSE", "as you like");
  dir.Write("config.json", "{}");  // belongs to other weights
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->path(), dir.path());
  EXPECT_EQ((*model)->weight_path(0), dir.File("m.gguf"));
  EXPECT_EQ((*model)->config_json(), "");
  ASSERT_EQ((*model)->side_files().size(), 1u);
  EXPECT_EQ((*model)->side_files()[0].name, "LICENSE");
}

TEST(GgufModelTest, SafetensorsGoBeforeGguf) {
  TempDir dir;
  WriteGguf(dir, "m.gguf", {}, SomeTensors());
  dir.Write("model.safetensors",
            SafetensorsBytes("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],"
                             "\"data_offsets\":[0,1]}}",
                             1));
  const auto model = OpenModel(dir.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(TensorNames(**model), ElementsAre("w"));
}

TEST(GgufModelTest, ADirectoryWithSeveralModelsIsNone) {
  TempDir dir;
  WriteGguf(dir, "m-Q4.gguf", {}, SomeTensors());
  WriteGguf(dir, "m-Q8.gguf", {}, SomeTensors());
  const auto model = OpenModel(dir.path());
  EXPECT_EQ(model.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetReason(model.status()), Reason::kSourceMissing);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("\"m-Q4.gguf\", \"m-Q8.gguf\""));
}

TEST(GgufModelTest, NoticesThatTheSourceChanged) {
  TempDir dir;
  const std::string path = WriteGguf(dir, "m.gguf", {}, SomeTensors());
  const auto model = OpenModel(path);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->CheckUnchanged().ok());
  ASSERT_EQ(::truncate(path.c_str(), 400), 0);
  EXPECT_EQ(GetReason((*model)->CheckUnchanged()), Reason::kSourceChanged);
  std::vector<uint8_t> bytes((*model)->tensors()[2].bytes);
  EXPECT_EQ(GetReason((*model)->Read((*model)->tensors()[2], 0,
                                     absl::MakeSpan(bytes))),
            Reason::kSourceChanged);
}

// The keys of file `number` (from 0) of three with five tensors.
std::vector<GgufKv> SplitKvs(int number, int count = 3, int tensors = 5) {
  return {{"split.no", static_cast<uint16_t>(number)},
          {"split.count", static_cast<uint16_t>(count)},
          {"split.tensors.count", int32_t{tensors}}};
}

std::string SplitFile(int number) {
  return absl::StrCat("m-0000", number, "-of-00003.gguf");
}

// A model in three files: none, three and two tensors.
class SplitModel {
 public:
  SplitModel() {
    std::vector<GgufKv> kvs = SplitKvs(0);
    kvs.push_back({"general.architecture", std::string("llama")});
    WriteGguf(dir, SplitFile(1), kvs, {});
    WriteGguf(dir, SplitFile(2), SplitKvs(1), SomeTensors());
    WriteGguf(dir, SplitFile(3), SplitKvs(2), Last());
  }

  static std::vector<GgufTensor> Last() {
    return {{.name = "a", .shape = {1}}, {.name = "y", .shape = {2, 2}}};
  }

  void ExpectRefused(const char* message) const {
    const auto model = OpenModel(dir.File(SplitFile(1)));
    ASSERT_FALSE(model.ok()) << message;
    EXPECT_EQ(model.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(GetReason(model.status()), Reason::kModelMalformed);
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(message));
  }

  TempDir dir;
};

TEST(GgufSplitTest, ReadsAllFilesFromTheFirst) {
  SplitModel split;
  for (const std::string& path :
       {split.dir.File(SplitFile(1)), split.dir.path()}) {
    const auto model = OpenModel(path);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_THAT(TensorNames(**model), ElementsAre("a", "e", "n", "y", "z"));
    ASSERT_EQ((*model)->files().size(), 3u);
    EXPECT_EQ((*model)->files()[2].name, SplitFile(3));
    EXPECT_EQ((*model)->tensors()[3].file, 2);
    std::vector<uint8_t> bytes(2);
    ASSERT_TRUE(
        (*model)->Read((*model)->tensors()[3], 14, absl::MakeSpan(bytes)).ok());
    EXPECT_THAT(bytes, ElementsAre(14, 15));
    const auto* gguf = dynamic_cast<const GgufModel*>(model->get());
    ASSERT_NE(gguf, nullptr);
    EXPECT_EQ(
        gguf->kvs(),
        (std::vector<GgufKv>{{"general.architecture", std::string("llama")}}));
  }
}

TEST(GgufSplitTest, FindsTheOthersBesideALink) {
  SplitModel split;
  TempDir links;
  for (int i = 1; i <= 3; ++i) {
    const std::string blob = split.dir.File(absl::StrCat("blob", i));
    ASSERT_TRUE(Rename(split.dir.File(SplitFile(i)), blob).ok());
    ASSERT_EQ(::symlink(blob.c_str(), links.File(SplitFile(i)).c_str()), 0);
  }
  const auto model = OpenModel(links.File(SplitFile(1)));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->tensors().size(), 5u);
  EXPECT_EQ((*model)->weight_path(2), split.dir.File("blob3"));
}

TEST(GgufSplitTest, RefusesToBeginWithTheSecond) {
  SplitModel split;
  const auto model = OpenModel(split.dir.File(SplitFile(2)));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("is file 2 of 3; name the first, m-00001-of-00003"));
}

TEST(GgufSplitTest, RefusesAMissingFile) {
  SplitModel split;
  ASSERT_TRUE(RemoveTree(split.dir.File(SplitFile(3))).ok());
  split.ExpectRefused("m-00003-of-00003.gguf is missing");
}

TEST(GgufSplitTest, RefusesAMissingFirstFile) {
  SplitModel split;
  ASSERT_TRUE(RemoveTree(split.dir.File(SplitFile(1))).ok());
  EXPECT_FALSE(OpenModel(split.dir.path()).ok());
}

TEST(GgufSplitTest, RefusesAFileInTheWrongPlace) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(3), SplitKvs(1), SplitModel::Last());
  split.ExpectRefused("m-00003-of-00003.gguf: is file 1 (from 0) of 3");
}

TEST(GgufSplitTest, RefusesAFileOfAnotherSet) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(3), SplitKvs(2, 4), SplitModel::Last());
  split.ExpectRefused("is file 2 (from 0) of 4");
  WriteGguf(split.dir, SplitFile(3), SplitKvs(2, 3, 6), SplitModel::Last());
  split.ExpectRefused("counts other tensors");
}

TEST(GgufSplitTest, RefusesAFileThatIsNotSplit) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(2), {}, SomeTensors());
  split.ExpectRefused("is file 0 (from 0) of 1");
}

TEST(GgufSplitTest, RefusesAWrongCountOfTensors) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(3), SplitKvs(2), {SplitModel::Last()[0]});
  split.ExpectRefused("hold 4 tensors; split.tensors.count is 5");
}

TEST(GgufSplitTest, RefusesNamesThatAreInTwoFiles) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(3), SplitKvs(2),
            {{.name = "a", .shape = {1}}, {.name = "n", .shape = {1}}});
  split.ExpectRefused("\"n\" is in two files");
}

TEST(GgufSplitTest, RefusesANumberBeyondTheCount) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(1), SplitKvs(3), {});
  split.ExpectRefused("is file 3 (from 0) of 3 by its keys");
}

TEST(GgufSplitTest, RefusesMoreFilesThanAreRead) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(1), SplitKvs(0, 65535), {});
  split.ExpectRefused("at most 10000 files");
}

TEST(GgufSplitTest, RefusesCountsOfOtherTypes) {
  SplitModel split;
  WriteGguf(split.dir, SplitFile(1),
            std::vector<GgufKv>{{"split.count", uint32_t{3}}}, {});
  split.ExpectRefused("is u32; u16 is needed");
  WriteGguf(split.dir, SplitFile(1),
            std::vector<GgufKv>{{"split.count", uint16_t{3}}}, {});
  split.ExpectRefused("\"split.no\": is missing");
  WriteGguf(split.dir, SplitFile(1),
            std::vector<GgufKv>{{"split.count", uint16_t{3}},
                                {"split.no", uint16_t{0}}},
            {});
  split.ExpectRefused("split.tensors.count is missing");
}

TEST(GgufSplitTest, RefusesAFileWithoutTheNameOfASplitOne) {
  SplitModel split;
  ASSERT_TRUE(
      Rename(split.dir.File(SplitFile(1)), split.dir.File("first.gguf")).ok());
  const auto model = OpenModel(split.dir.File("first.gguf"));
  EXPECT_EQ(GetReason(model.status()), Reason::kModelMalformed);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("must be called NAME-00001-of-00003.gguf"));
}

TEST(GgufSplitTest, Names) {
  const auto name = ParseSplitName("x-00001-of-00002-00003-of-00010.gguf");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->prefix, "x-00001-of-00002");
  EXPECT_EQ(name->number, 3);
  EXPECT_EQ(name->count, 10);
  EXPECT_EQ(name->FileName(), "x-00001-of-00002-00003-of-00010.gguf");
  for (const char* other :
       {"x.gguf", "x-00000-of-00002.gguf", "x-00003-of-00002.gguf",
        "x-0001-of-0002.gguf", "x00001-of-00002.gguf", "-of-.gguf",
        "x-0000a-of-00002.gguf", "x-00001-of-00002", "00001-of-00002.gguf"}) {
    EXPECT_FALSE(ParseSplitName(other)) << other;
  }
}

// A 70B model in F16 with a vocabulary, of which only the head exists: opening
// it must touch nothing else.
TEST(GgufModelTest, OpensAHundredGigabytesFast) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 128'000; ++i) tokens.push_back(absl::StrCat("token", i));
  std::vector<GgufTensor> tensors;
  for (int i = 0; i < 80; ++i) {
    for (const char* part : {"ffn_down", "ffn_gate", "ffn_up", "attn_q"}) {
      tensors.push_back({.name = absl::StrCat("blk.", i, ".", part, ".weight"),
                         .type = GgmlType::kF16,
                         .shape = {28672, 8192}});
    }
  }
  const auto layout = LayOutGguf(
      std::vector<GgufKv>{{"tokenizer.ggml.tokens", std::move(tokens)}},
      std::move(tensors));
  ASSERT_TRUE(layout.ok()) << layout.status();
  ASSERT_GT(layout->file_size, 100'000'000'000);
  TempDir dir;
  const std::string path = dir.Write("m.gguf", layout->header);
  const auto file = File::OpenWrite(path);
  ASSERT_TRUE(file.ok() && file->Truncate(layout->file_size).ok());

  const int64_t own = BytesReadByMeasuring();
  const int64_t before = BytesRead();
  const double start = ThreadSeconds();
  const auto model = OpenModel(path);
  const double seconds = ThreadSeconds() - start;
  const int64_t read = BytesRead() - before - own;
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->tensors().size(), 320u);
  // The head comes in pieces of 64 KiB.
  EXPECT_LT(read, static_cast<int64_t>(layout->header.size()) + (65 << 10));
  EXPECT_LT(seconds, 0.2);
}

}  // namespace
}  // namespace quant

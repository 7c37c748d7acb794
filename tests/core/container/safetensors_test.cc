#include "core/container/safetensors.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/container/model_files.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

SafetensorsTensor Tensor(absl::string_view name, DType dtype, Shape shape) {
  return {.name = std::string(name), .dtype = dtype, .shape = std::move(shape)};
}

std::vector<std::string> Names(const std::vector<SafetensorsTensor>& tensors) {
  std::vector<std::string> names;
  for (const auto& tensor : tensors) names.push_back(tensor.name);
  return names;
}

TEST(LayOutTest, WritesTheReferenceHeaderByteForByte) {
  const auto layout = LayOutSafetensors({
      Tensor("a.weight", DType::kBF16, {2, 3}),
      Tensor("b.scale", DType::kF32, {}),
      Tensor("a.packed", DType::kI32, {1, 4}),
      Tensor("a.shape", DType::kI64, {2}),
      Tensor("\xC3\xA9\"\\\n\x01/", DType::kU8, {0}),
  });
  ASSERT_TRUE(layout.ok()) << layout.status();
  // I64, F32, I32, BF16, U8; the reference escapes what JSON must and no more.
  const std::string json =
      "{\"__metadata__\":{\"format\":\"pt\"},"
      "\"a.shape\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
      "\"b.scale\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]},"
      "\"a.packed\":{\"dtype\":\"I32\",\"shape\":[1,4],"
      "\"data_offsets\":[20,36]},"
      "\"a.weight\":{\"dtype\":\"BF16\",\"shape\":[2,3],"
      "\"data_offsets\":[36,48]},"
      "\"\xC3\xA9\\\"\\\\\\n\\u0001/\":{\"dtype\":\"U8\",\"shape\":[0],"
      "\"data_offsets\":[48,48]}}";
  const std::string padded = json + std::string(-json.size() % 8, ' ');
  ASSERT_EQ(padded.size() % 8, 0u);
  EXPECT_EQ(layout->header, LengthBytes(padded.size()) + padded);
  EXPECT_EQ(layout->file_size,
            static_cast<int64_t>(layout->header.size()) + 48);
}

TEST(LayOutTest, SortsByDescendingTypeThenByName) {
  std::vector<SafetensorsTensor> tensors;
  for (int i = 0; i <= static_cast<int>(DType::kU64); ++i) {
    const DType dtype = static_cast<DType>(i);
    tensors.push_back(Tensor(absl::StrCat("b", DTypeName(dtype)), dtype, {8}));
    tensors.push_back(Tensor(absl::StrCat("B", DTypeName(dtype)), dtype, {8}));
  }
  const auto layout = LayOutSafetensors(tensors);
  ASSERT_TRUE(layout.ok());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int type = static_cast<int>(DType::kU64) - static_cast<int>(i / 2);
    const std::string want = absl::StrCat(i % 2 == 0 ? "B" : "b",
                                          DTypeName(static_cast<DType>(type)));
    EXPECT_EQ(layout->tensors[i].name, want);
  }
}

TEST(LayOutTest, PadsToEightAtEveryLength) {
  for (int extra = 0; extra < 16; ++extra) {
    const auto layout = LayOutSafetensors(
        {Tensor(std::string(1 + extra, 'n'), DType::kU8, {5})});
    ASSERT_TRUE(layout.ok());
    EXPECT_EQ(layout->header.size() % 8, 0u);
    EXPECT_EQ(layout->header[8], '{');
  }
}

TEST(LayOutTest, RefusesWhatCouldNotBeRead) {
  const auto refused = [](std::vector<SafetensorsTensor> tensors) {
    const auto layout = LayOutSafetensors(std::move(tensors));
    return layout.status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(
      refused({Tensor("a", DType::kU8, {1}), Tensor("b", DType::kU8, {1}),
               Tensor("a", DType::kF32, {1})}));
  EXPECT_TRUE(refused({Tensor("__metadata__", DType::kU8, {1})}));
  EXPECT_TRUE(refused({Tensor("\xC3\x28", DType::kU8, {1})}));
  EXPECT_TRUE(refused({Tensor(std::string(2000, 'x'), DType::kU8, {1})}));
  EXPECT_TRUE(refused({Tensor("a", DType::kU8, Shape(9, 1))}));
  EXPECT_TRUE(refused({Tensor("a", DType::kF4, {3})}));
  EXPECT_TRUE(refused({Tensor("a", DType::kU8, {-1})}));
  EXPECT_TRUE(refused({Tensor("a", DType::kU8, {int64_t{1} << 60})}));
  // Each fits, the sum does not.
  std::vector<SafetensorsTensor> many;
  for (int i = 0; i < 9; ++i) {
    many.push_back(
        Tensor(absl::StrCat(i), DType::kU8, {(int64_t{1} << 60) - 1}));
  }
  EXPECT_TRUE(refused(many));
}

TEST(LayOutTest, RefusesAHeaderBeyondTheCap) {
  std::vector<SafetensorsTensor> many;
  for (int i = 0; i < 100'000; ++i) {
    many.push_back(
        Tensor(absl::StrCat(i, std::string(1000, 'n')), DType::kU8, {1}));
  }
  EXPECT_EQ(LayOutSafetensors(std::move(many)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// What is laid out is read back: names, types, shapes and every offset.
TEST(SafetensorsTest, RandomLayoutsRoundTrip) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<SafetensorsTensor> tensors;
    const int count = static_cast<int>(random() % 20);
    for (int i = 0; i < count; ++i) {
      Shape shape(random() % 4);
      for (int64_t& n : shape) n = random() % 5;
      shape.push_back(8);  // whole bytes in every type
      const auto dtype = static_cast<DType>(random() % 22);
      tensors.push_back(Tensor(absl::StrCat("t\t", i), dtype, shape));
    }
    const auto layout = LayOutSafetensors(tensors);
    ASSERT_TRUE(layout.ok());
    const auto header = ParseSafetensorsHeader(
        absl::string_view(layout->header).substr(8), layout->file_size);
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_THAT(header->metadata, ElementsAre(Pair("format", "pt")));
    EXPECT_EQ(header->data_start, static_cast<int64_t>(layout->header.size()));
    ASSERT_EQ(header->tensors.size(), tensors.size());
    int64_t end = 0;
    for (const SafetensorsTensor& tensor : layout->tensors) {
      EXPECT_EQ(tensor.begin, end);
      end = tensor.end;
      bool found = false;
      for (const SafetensorsTensor& read : header->tensors) {
        found |= read.name == tensor.name && read.dtype == tensor.dtype &&
                 read.shape == tensor.shape && read.begin == tensor.begin &&
                 read.end == tensor.end;
      }
      EXPECT_TRUE(found) << tensor.name;
    }
  }
}

TEST(ParseHeaderTest, TakesAnyOrderAndSortsByOffset) {
  const std::string json =
      "{\"b\":{\"data_offsets\":[4,6],\"shape\":[2],\"dtype\":\"U8\"},"
      "\"empty\":{\"dtype\":\"F64\",\"shape\":[3,0],\"data_offsets\":[4,4]},"
      "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}";
  const auto header =
      ParseSafetensorsHeader(json, 8 + static_cast<int64_t>(json.size()) + 6);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(Names(header->tensors), ElementsAre("a", "empty", "b"));
}

TEST(ParseHeaderTest, TakesWhatTheReferenceTakes) {
  // The empty file, white space on both sides, null metadata, unknown fields.
  for (const char* json :
       {"{}      ", " \n\t\r{} \n", "{\"__metadata__\":{}}",
        "{\"__metadata__\":null}",
        "{\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
        "{\"w\":{\"dtype\":\"U8\",\"x\":{\"y\":[1.5,null]},\"shape\":[0],"
        "\"z\":-1,\"data_offsets\":[0,0]}}"}) {
    const std::string text = json;
    const auto header =
        ParseSafetensorsHeader(text, 8 + static_cast<int64_t>(text.size()));
    EXPECT_TRUE(header.ok()) << text << header.status();
  }
}

TEST(ParseHeaderTest, KeepsMetadata) {
  const std::string json =
      "{\"__metadata__\":{\"format\":\"pt\",\"by\":\"\xC3\xA9\\u00e9\"}}";
  const auto header =
      ParseSafetensorsHeader(json, 8 + static_cast<int64_t>(json.size()));
  ASSERT_TRUE(header.ok());
  EXPECT_THAT(header->metadata, ElementsAre(Pair("by", "\xC3\xA9\xC3\xA9"),
                                            Pair("format", "pt")));
}

TEST(ParseHeaderTest, NamesTheTensorAndItsNearestType) {
  const std::string json =
      "{\"blk.0\":{\"dtype\":\"BF61\",\"shape\":[1],\"data_offsets\":[0,2]}}";
  const auto header = ParseSafetensorsHeader(json, 200);
  EXPECT_THAT(
      std::string(header.status().message()),
      HasSubstr("tensor \"blk.0\": unknown dtype \"BF61\"; did you mean "
                "\"BF16\"?"));
}

// 80 02 is how both a pickle and a header of 640 bytes begin.
TEST(ReadHeaderTest, AHeaderLengthThatLooksLikeAPickleIsRead) {
  std::string json = "{}";
  json.resize(0x280, ' ');
  TempDir dir;
  auto file =
      File::OpenRead(dir.Write("x.safetensors", SafetensorsBytes(json, 0)));
  ASSERT_TRUE(file.ok());
  const auto header = ReadSafetensorsHeader(*file);
  EXPECT_TRUE(header.ok()) << header.status();
}

TEST(ReadHeaderTest, ReadsAMillionTensorsButNoMore) {
  const auto parse = [](int64_t count) {
    std::string json = "{";
    for (int64_t i = 0; i < count; ++i) {
      absl::StrAppend(&json, i == 0 ? "" : ",", "\"", i,
                      "\":{\"dtype\":\"U8\",\"shape\":[0],"
                      "\"data_offsets\":[0,0]}");
    }
    json += '}';
    return ParseSafetensorsHeader(json, 8 + static_cast<int64_t>(json.size()))
        .ok();
  };
  EXPECT_TRUE(parse(kMaxTensorsPerModel));
  EXPECT_FALSE(parse(kMaxTensorsPerModel + 1));
}

}  // namespace
}  // namespace quant

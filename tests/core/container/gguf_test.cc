#include "core/container/gguf.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/container/gguf_rules.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/container/gguf_files.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<GgufHeader> Read(absl::string_view bytes) {
  TempDir dir;
  const auto file = File::OpenRead(dir.Write("x.gguf", bytes));
  EXPECT_TRUE(file.ok());
  return ReadGgufHeader(*file);
}

// The worked file of the format's description: two keys, two tensors.
std::string WorkedFile() {
  return GgufBytes(2, 2)
      .Key("general.architecture", 8)
      .Text("llama")
      .Key("a.b", 9)
      .U32(4)
      .U64(2)
      .U32(7)
      .U32(8)
      .Tensor("w", {32, 1}, 2, 0)
      .Tensor("n", {3}, 0, 32)
      .Pad()
      .Zeros(64);
}

TEST(GgufTest, LaysOutTheWorkedFileByteForByte) {
  const std::vector<GgufKv> kvs = {
      {"general.architecture", std::string("llama")},
      {"a.b", std::vector<uint32_t>{7, 8}}};
  const auto layout =
      LayOutGguf(kvs, {{.name = "w", .type = GgmlType::kQ4_0, .shape = {1, 32}},
                       {.name = "n", .shape = {3}}});
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->header.size(), 192u);
  EXPECT_EQ(layout->file_size, 256);
  ASSERT_EQ(layout->tensors.size(), 2u);
  EXPECT_EQ(layout->tensors[0].begin, 192);
  EXPECT_EQ(layout->tensors[0].end, 192 + 18);
  EXPECT_EQ(layout->tensors[1].begin, 192 + 32);
  EXPECT_EQ(layout->tensors[1].end, 192 + 32 + 12);
  std::string file = layout->header;
  file.resize(layout->file_size);
  EXPECT_EQ(file, WorkedFile());
  // The last bytes before the padding, spelled out: F32, offset 32.
  EXPECT_EQ(file.substr(166, 12),
            std::string("\0\0\0\0\x20\0\0\0\0\0\0\0", 12));
}

TEST(GgufTest, ReadsTheWorkedFile) {
  const auto header = Read(WorkedFile());
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->version, 3);
  EXPECT_EQ(header->alignment, 32);
  EXPECT_EQ(header->data_start, 192);
  EXPECT_EQ(header->digest, Xxh3Hex(WorkedFile().substr(0, 178)));
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0], (GgufTensor{.name = "w",
                                            .type = GgmlType::kQ4_0,
                                            .shape = {1, 32},
                                            .begin = 192,
                                            .end = 210}));
  EXPECT_EQ(header->tensors[1],
            (GgufTensor{.name = "n", .shape = {3}, .begin = 224, .end = 236}));
  EXPECT_EQ(*GetGguf<std::string>(header->kvs, "general.architecture"),
            "llama");
  EXPECT_EQ(**GetGgufArray<uint32_t>(header->kvs, "a.b"),
            (std::vector<uint32_t>{7, 8}));
}

TEST(GgufTest, TheLastTensorNeedsNoZerosBehindIt) {
  EXPECT_TRUE(Read(WorkedFile().substr(0, 236)).ok());
  EXPECT_FALSE(Read(WorkedFile().substr(0, 235)).ok());
}

TEST(GgufTest, ReadsVersionTwo) {
  std::string bytes = WorkedFile();
  bytes[4] = 2;
  const auto header = Read(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->version, 2);
  EXPECT_EQ(header->tensors.size(), 2u);
}

std::vector<GgufKv> AllTypes() {
  using L64 = std::numeric_limits<int64_t>;
  return {
      {"u8", uint8_t{255}},
      {"i8", int8_t{-128}},
      {"u16", uint16_t{65535}},
      {"i16", int16_t{-32768}},
      {"u32", ~uint32_t{0}},
      {"i32", std::numeric_limits<int32_t>::min()},
      {"f32", -0.0f},
      {"bool", true},
      {"string", std::string("a\0\xFF", 3)},  // values may be any bytes
      {"u64", ~uint64_t{0}},
      {"i64", L64::min()},
      {"f64", 1e300},
      {"as.u8", std::vector<uint8_t>{1, 2}},
      {"as.i8", std::vector<int8_t>{-1}},
      {"as.u16", std::vector<uint16_t>{}},
      {"as.i16", std::vector<int16_t>{-2, 2}},
      {"as.u32", std::vector<uint32_t>{3}},
      {"as.i32", std::vector<int32_t>(100'000, -7)},
      {"as.f32", std::vector<float>{0.5f, INFINITY}},
      {"as.bool", std::vector<bool>{true, false, true}},
      {"as.string", std::vector<std::string>{"", "x", std::string(1000, 'y')}},
      {"as.u64", std::vector<uint64_t>{1}},
      {"as.i64", std::vector<int64_t>{L64::max()}},
      {"as.f64", std::vector<double>{-0.0}},
  };
}

TEST(GgufTest, KeysOfAllTypesSurvive) {
  const std::vector<GgufKv> kvs = AllTypes();
  const auto layout = LayOutGguf(kvs, {});
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->file_size, static_cast<int64_t>(layout->header.size()));
  const auto header = Read(layout->header);
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->kvs.size(), kvs.size());
  for (size_t i = 0; i < kvs.size(); ++i) {
    EXPECT_EQ(header->kvs[i], kvs[i]) << kvs[i].key;
  }
  EXPECT_TRUE(std::signbit(*GetGguf<float>(header->kvs, "f32")));
  // Every cut is noticed.
  const size_t head = layout->header.size() - 40;
  for (size_t size = 0; size < head; size += 997) {
    EXPECT_FALSE(Read(layout->header.substr(0, size)).ok()) << size;
  }
}

TEST(GgufTest, TensorsOfAllTypesSurvive) {
  std::vector<GgufTensor> tensors;
  for (const GgmlTypeInfo& info : GgmlTypes()) {
    tensors.push_back({.name = std::string(info.name),
                       .type = info.type,
                       .shape = {2, 3, 2 * info.block_elems}});
  }
  const auto layout = LayOutGguf({}, tensors);
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::string bytes = layout->header;
  bytes.resize(layout->file_size);
  const auto header = Read(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors, layout->tensors);
  int64_t end = header->data_start;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const GgufTensor& tensor = header->tensors[i];
    EXPECT_EQ(tensor.begin % 32, 0);
    EXPECT_EQ(tensor.begin, end);
    EXPECT_EQ(tensor.end - tensor.begin, 12 * GgmlTypes()[i].block_bytes);
    end = (tensor.end + 31) / 32 * 32;
  }
  EXPECT_EQ(layout->file_size, end);
}

TEST(GgufTest, ScalarsAndFourDimensionsAreTensors) {
  const auto layout = LayOutGguf(
      {}, {{.name = "s", .shape = {}}, {.name = "t", .shape = {2, 3, 4, 5}}});
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::string bytes = layout->header;
  bytes.resize(layout->file_size);
  const auto header = Read(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors, layout->tensors);
  EXPECT_EQ(header->tensors[0].end - header->tensors[0].begin, 4);
  EXPECT_EQ(header->tensors[1].end - header->tensors[1].begin, 480);
}

TEST(GgufTest, AnotherAlignmentIsAKey) {
  const std::vector<GgufTensor> tensors = {{.name = "a", .shape = {1}},
                                           {.name = "b", .shape = {1}}};
  const auto layout = LayOutGguf({}, tensors, 4096);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->tensors[0].begin, 4096);
  EXPECT_EQ(layout->tensors[1].begin, 8192);
  EXPECT_EQ(layout->file_size, 3 * 4096);
  std::string bytes = layout->header;
  bytes.resize(layout->file_size);
  const auto header = Read(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->alignment, 4096);
  // What was read is laid out again as it was.
  const auto again = LayOutGguf(header->kvs, header->tensors, 4096);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->header, layout->header);
  EXPECT_FALSE(LayOutGguf(header->kvs, tensors).ok());
}

TEST(GgufValueTest, TypesAreExact) {
  const std::vector<GgufKv> kvs = AllTypes();
  EXPECT_EQ(*GetGguf<uint32_t>(kvs, "u32"), ~uint32_t{0});
  EXPECT_EQ(*GetGguf<bool>(kvs, "bool"), true);
  EXPECT_EQ((*GetGgufArray<std::string>(kvs, "as.string"))->size(), 3u);

  const auto wrong = GetGguf<uint32_t>(kvs, "i32");
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(GetReason(wrong.status()), Reason::kModelMalformed);
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("key \"i32\": is i32; u32 is needed"));
  EXPECT_THAT(
      std::string(GetGgufArray<float>(kvs, "as.f64").status().message()),
      HasSubstr("is array of f64; array of f32 is needed"));
  EXPECT_FALSE(GetGguf<float>(kvs, "as.f32").ok());
  EXPECT_FALSE(GetGgufArray<float>(kvs, "f32").ok());
  EXPECT_FALSE(FindGguf<uint64_t>(kvs, "u32").ok());

  EXPECT_THAT(std::string(GetGguf<float>(kvs, "none").status().message()),
              HasSubstr("key \"none\": is missing; f32 is needed"));
  const auto absent = FindGguf<float>(kvs, "none");
  ASSERT_TRUE(absent.ok());
  EXPECT_EQ(*absent, nullptr);
}

struct Unwritable {
  const char* message;
  std::vector<GgufKv> kvs;
  std::vector<GgufTensor> tensors;
  int64_t alignment = 32;
};

TEST(GgufTest, WritesNothingThatItWouldNotRead) {
  const std::vector<Unwritable> cases = {
      {"is empty", {{"", true}}, {}},
      {"is there twice", {{"a", true}, {"a", false}}, {}},
      {"arrays of arrays", {{"a", GgufArray(std::monostate())}}, {}},
      {"at most 65535", {{std::string(65536, 'k'), true}}, {}},
      {"at most 63", {}, {{.name = std::string(64, 'w'), .shape = {1}}}},
      {"is there twice",
       {},
       {{.name = "w", .shape = {1}}, {.name = "w", .shape = {2}}}},
      {"at least 1", {}, {{.name = "w", .shape = {0, 3}}}},
      {"5 dimensions", {}, {{.name = "w", .shape = {1, 1, 1, 1, 1}}}},
      {"multiples of 256",
       {},
       {{.name = "w", .type = GgmlType::kQ4_K, .shape = {4, 128}}}},
      {"overflows", {}, {{.name = "w", .shape = {INT64_MAX}}}},
      {"overflows",
       {},
       {{.name = "v", .type = GgmlType::kI8, .shape = {INT64_MAX - 64}},
        {.name = "w", .type = GgmlType::kI8, .shape = {INT64_MAX - 64}}}},
      {"power of two", {}, {}, 24},
      {"power of two", {}, {}, 0},
      {"must be the u32 64", {{"general.alignment", uint32_t{32}}}, {}, 64},
      {"must be the u32 32", {{"general.alignment", int32_t{32}}}, {}, 32},
      {"at most 134217728", {{"a", std::string(kMaxGgufHeaderBytes, 'x')}}, {}},
  };
  for (const Unwritable& c : cases) {
    const auto layout = LayOutGguf(c.kvs, c.tensors, c.alignment);
    ASSERT_FALSE(layout.ok()) << c.message;
    EXPECT_EQ(layout.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(layout.status().message()), HasSubstr(c.message));
    EXPECT_LT(layout.status().message().size(), 2000u);
  }
}

}  // namespace
}  // namespace quant

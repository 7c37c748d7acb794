#include "core/container/imatrix.h"

#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/container/gguf_files.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kF32 = 0, kF16 = 1;

// The four keys of an importance matrix, of which the last has `type`.
GgufBytes Head(uint64_t tensors, uint32_t type = 4) {
  return GgufBytes(tensors, 4)
      .Key("general.type", 8)
      .Text("imatrix")
      .Key("imatrix.datasets", 9)
      .U32(8)
      .U64(1)
      .Text("wiki")
      .Key("imatrix.chunk_count", 4)
      .U32(3)
      .Key("imatrix.chunk_size", type)
      .U32(512);
}

// Sums of two experts with two columns each, and their counts.
std::string Experts(const std::vector<float>& sums,
                    const std::vector<float>& counts) {
  GgufBytes bytes = Head(2)
                        .Tensor("w.in_sum2", {2, 2}, kF32, 0)
                        .Tensor("w.counts", {1, 2}, kF32, 32)
                        .Pad();
  for (float sum : sums) bytes.F32(sum);
  bytes.Pad();
  for (float count : counts) bytes.F32(count);
  return bytes.Pad();
}

// One entry of the older form.
GgufBytes& AddEntry(GgufBytes& bytes, absl::string_view name, int32_t calls,
                    const std::vector<float>& values) {
  bytes.U32(static_cast<uint32_t>(name.size())).Raw(name);
  bytes.U32(static_cast<uint32_t>(calls));
  bytes.U32(static_cast<uint32_t>(values.size()));
  for (float value : values) bytes.F32(value);
  return bytes;
}

std::string OneEntry(absl::string_view name, int32_t calls,
                     const std::vector<float>& values) {
  GgufBytes bytes;
  return AddEntry(bytes.U32(1), name, calls, values);
}

absl::StatusOr<Imatrix> Read(const std::string& bytes) {
  TempDir dir;
  return ReadImatrix(dir.Write("imatrix", bytes));
}

TEST(ImatrixTest, ReadsGguf) {
  const auto matrix = Read(Experts({1, 2, 30, 0}, {2, 10}));
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  EXPECT_THAT(matrix->datasets, ElementsAre("wiki"));
  EXPECT_EQ(matrix->chunks, 3);
  EXPECT_EQ(matrix->chunk_tokens, 512);
  ASSERT_EQ(matrix->entries.size(), 1u);
  const ImatrixEntry& entry = matrix->entries.at("w");
  EXPECT_THAT(entry.counts, ElementsAre(2, 10));
  EXPECT_THAT(entry.means, ElementsAre(0.5f, 1.0f, 3.0f, 0.0f));
}

TEST(ImatrixTest, AnExpertWithoutTokensIsUnweighted) {
  const auto matrix = Read(Experts({1, 2, 0, 0}, {2, 0}));
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  EXPECT_THAT(matrix->entries.at("w").means,
              ElementsAre(0.5f, 1.0f, 1.0f, 1.0f));
}

TEST(ImatrixTest, PlainWeightsMayLackTheExpertsDimension) {
  GgufBytes bytes = Head(2)
                        .Tensor("w.counts", {1}, kF32, 0)
                        .Tensor("w.in_sum2", {3}, kF32, 32)
                        .Pad();
  bytes.F32(4).Pad().F32(4).F32(8).F32(2).Pad();
  const auto matrix = Read(bytes);
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  EXPECT_THAT(matrix->entries.at("w").means, ElementsAre(1.0f, 2.0f, 0.5f));
}

TEST(ImatrixTest, ReadsTheOlderForm) {
  GgufBytes bytes;
  bytes.U32(2);
  AddEntry(bytes, "blk.0.attn_q.weight", 4, {4, 8, 0});
  AddEntry(bytes, "blk.0.attn_k.weight", 0, {0, 0});
  const std::string without_trailer = bytes;
  bytes.U32(9).U32(4).Raw("wiki");
  for (const std::string& file : {without_trailer, std::string(bytes)}) {
    const auto matrix = Read(file);
    ASSERT_TRUE(matrix.ok()) << matrix.status();
    ASSERT_EQ(matrix->entries.size(), 2u);
    const ImatrixEntry& q = matrix->entries.at("blk.0.attn_q.weight");
    EXPECT_THAT(q.means, ElementsAre(1.0f, 2.0f, 0.0f));
    EXPECT_THAT(q.counts, ElementsAre(4));
    EXPECT_THAT(matrix->entries.at("blk.0.attn_k.weight").means,
                ElementsAre(1.0f, 1.0f));
  }
  EXPECT_EQ(Read(bytes)->chunks, 9);
  EXPECT_THAT(Read(bytes)->datasets, ElementsAre("wiki"));
  EXPECT_EQ(Read(without_trailer)->chunks, 0);
}

TEST(ImatrixTest, FindsTheWeightsOfATensor) {
  const auto matrix = Read(Experts({1, 2, 30, 0}, {2, 10}));
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  const auto found = matrix->Find("w", 2, 2);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, ElementsAre(0.5f, 1.0f, 3.0f, 0.0f));
  const auto none = matrix->Find("v", 2, 2);
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none->empty());
  for (const auto& [experts, columns] :
       std::vector<std::pair<int64_t, int64_t>>{
           {2, 3}, {1, 4}, {4, 1}, {int64_t{1} << 62, 4}}) {
    const auto other = matrix->Find("w", experts, columns);
    EXPECT_EQ(other.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(other.status().message()),
                HasSubstr("another model"));
  }
  // The older form knows no experts.
  const auto older = Read(OneEntry("w", 1, {1, 2, 3, 4}));
  ASSERT_TRUE(older.ok());
  EXPECT_TRUE(older->Find("w", 2, 2).ok());
  EXPECT_FALSE(older->Find("w", 2, 3).ok());
}

TEST(ImatrixTest, RefusesFilesBeyondTheCap) {
  TempDir dir;
  const std::string path = dir.Write("imatrix", "GGUF");
  const auto file = File::OpenWrite(path);
  ASSERT_TRUE(file.ok() && file->Truncate(kMaxImatrixBytes + 1).ok());
  EXPECT_EQ(ReadImatrix(path).status().code(),
            absl::StatusCode::kResourceExhausted);
}

struct Case {
  const char* name;
  std::string bytes;
  const char* message;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.name;
  }
};

// A GGUF file with these two tensors of four floats each.
std::string Pair(const char* a, const char* b) {
  return Head(2)
      .Tensor(a, {4, 1}, kF32, 0)
      .Tensor(b, {1, 1}, kF32, 32)
      .Pad()
      .Zeros(64);
}

std::vector<Case> GgufCases() {
  const std::string good = Experts({1, 2, 3, 4}, {1, 1});
  std::string model = good;
  model.replace(model.find("imatrix"), 7, "chatter");
  return {
      {"OfAnotherType", model, "holds a \"chatter\""},
      {"WithoutType", GgufBytes(0, 0), "\"general.type\": is missing"},
      {"WithoutDatasets",
       GgufBytes(0, 1).Key("general.type", 8).Text("imatrix"),
       "\"imatrix.datasets\": is missing"},
      {"ChunkSizeOfAnotherType", Head(0, 5), "is i32; u32 is needed"},
      {"TruncatedSums", good.substr(0, good.size() - 60), "truncated"},
      {"SumsNegative", Experts({1, -2, 3, 4}, {1, 1}), "value 1 is -2"},
      {"SumsNan", Experts({1, 2, NAN, 4}, {1, 1}), "value 2 is nan"},
      {"SumsInfinite", Experts({1, 2, 3, INFINITY}, {1, 1}), "value 3 is inf"},
      {"CountNegative", Experts({1, 2, 3, 4}, {1, -1}), "count 1 is -1"},
      {"CountNan", Experts({1, 2, 3, 4}, {NAN, 1}), "count 0 is nan"},
      {"CountInfinite", Experts({1, 2, 3, 4}, {INFINITY, 1}), "count 0 is inf"},
      {"CountBeyondIntegers", Experts({1, 2, 3, 4}, {1e30f, 1}), "count 0"},
      {"SumsWithoutCounts", Pair("w.in_sum2", "v.counts"),
       "counts are missing"},
      {"CountsWithoutSums", Pair("w.counts", "v.in_sum2"), "are missing"},
      {"ATensorOfAModel", Pair("blk.0.attn_q.weight", "w.counts"),
       "must end in"},
      {"NameOfTheEndingOnly", Pair(".in_sum2", ".counts"), "must end in"},
      {"CountsOfOtherExperts",
       Head(2)
           .Tensor("w.in_sum2", {2, 2}, kF32, 0)
           .Tensor("w.counts", {1, 3}, kF32, 32)
           .Pad()
           .Zeros(64),
       "counts F32 [3, 1]"},
      {"CountsPerColumn",
       Head(2)
           .Tensor("w.in_sum2", {2, 2}, kF32, 0)
           .Tensor("w.counts", {2, 1}, kF32, 32)
           .Pad()
           .Zeros(64),
       "counts F32 [1, 2]"},
      {"SumsOfTypeF16",
       Head(2)
           .Tensor("w.in_sum2", {2}, kF16, 0)
           .Tensor("w.counts", {1}, kF32, 32)
           .Pad()
           .Zeros(64),
       "sums F16 [2]"},
      {"CountsOfTypeF16",
       Head(2)
           .Tensor("w.in_sum2", {2}, kF32, 0)
           .Tensor("w.counts", {1}, kF16, 32)
           .Pad()
           .Zeros(64),
       "counts F16 [1]"},
  };
}

std::vector<Case> OlderCases() {
  GgufBytes twice;
  AddEntry(twice.U32(2), "w", 1, {1});
  AddEntry(twice, "w", 1, {2});
  const std::string good = OneEntry("w", 1, {1, 2});
  return {
      {"Empty", "", "0 bytes are left"},
      {"Text", "imatrix of a model", "no importance matrix"},
      {"NoEntries", GgufBytes().U32(0), "0 entries"},
      {"EntriesNegative", GgufBytes().U32(0xFFFFFFFF).Zeros(64), "-1 entries"},
      {"EntriesLying", GgufBytes().U32(2).Raw(good.substr(4)),
       "entry 1: byte 25: 4 bytes"},
      {"NameEmpty", OneEntry("", 1, {1}), "0 bytes of name"},
      {"NameNegative", GgufBytes().U32(1).U32(0xFFFFFFFF).Zeros(64),
       "-1 bytes of name"},
      {"NameTooLong", OneEntry(std::string(64, 'w'), 1, {1}),
       "64 bytes of name"},
      {"NameLying", GgufBytes().U32(1).U32(10).Raw("w"), "10 bytes"},
      {"CallsNegative", OneEntry("w", -1, {1}), "-1 calls"},
      {"NoValues", OneEntry("w", 1, {}), "0 values"},
      {"ValuesNegative",
       GgufBytes().U32(1).U32(1).Raw("w").U32(1).U32(0xFFFFFFFF).Zeros(64),
       "-1 values"},
      {"ValuesLying",
       GgufBytes().U32(1).U32(1).Raw("w").U32(1).U32(17).Zeros(64),
       "17 elements of 4 bytes should follow; 64 bytes"},
      {"ValuesTimesFourWraps",
       GgufBytes().U32(1).U32(1).Raw("w").U32(1).U32(0x40000001).Zeros(64),
       "1073741825 values"},
      {"ValueNan", OneEntry("w", 1, {1, NAN}), "value 1 is nan"},
      {"ValueInfinite", OneEntry("w", 1, {INFINITY}), "value 0 is inf"},
      {"ValueNegative", OneEntry("w", 1, {-1}), "value 0 is -1"},
      {"NameTwice", twice, "\"w\": is there twice"},
      {"TrailerCutOff", good + std::string(7, '\0'), "3 bytes are left"},
      {"DatasetLying", GgufBytes().Raw(good).U32(1).U32(5).Raw("four"),
       "5 bytes"},
      {"DatasetNegative", GgufBytes().Raw(good).U32(1).U32(0xFFFFFFFF),
       "-1 bytes"},
      {"MoreBytes", GgufBytes().Raw(good).U32(1).U32(1).Raw("wx"),
       "1 more bytes"},
  };
}

class HostileImatrixTest : public testing::TestWithParam<Case> {};

TEST_P(HostileImatrixTest, IsRefusedAndSaysWhy) {
  TempDir dir;
  const std::string path = dir.Write("imatrix", GetParam().bytes);
  const auto matrix = ReadImatrix(path);
  ASSERT_FALSE(matrix.ok());
  EXPECT_EQ(matrix.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(GetReason(matrix.status()), Reason::kModelMalformed);
  const std::string message(matrix.status().message());
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr(path));
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Gguf, HostileImatrixTest,
                         testing::ValuesIn(GgufCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Older, HostileImatrixTest,
                         testing::ValuesIn(OlderCases()), CaseName);

}  // namespace
}  // namespace quant

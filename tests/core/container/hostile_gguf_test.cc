// Every GGUF file that must not be read, each with the words that tell its
// owner why. The first group per suite is what the reference reader refuses;
// names with Wraps, Lying, Nested and the like retell published
// vulnerabilities of other readers.
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/container/gguf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/container/gguf_files.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kU8 = 0, kU32 = 4, kI32 = 5, kBool = 7, kString = 8,
                   kArray = 9;
constexpr uint32_t kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ8_0 = 8, kQ4_K = 12;

struct Case {
  const char* name;
  std::string bytes;    // of the whole file
  const char* message;  // part of the error
  Reason reason = Reason::kModelMalformed;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.name;
  }
};

// A file with one key, whose value's bytes are to follow.
GgufBytes OneKey(uint32_t type) { return GgufBytes(0, 1).Key("a.b", type); }

// A file with one array, whose elements are to follow.
GgufBytes OneArray(uint32_t type, uint64_t count) {
  return OneKey(kArray).U32(type).U64(count);
}

// A file with one tensor and so many bytes of data.
std::string OneTensor(const std::vector<uint64_t>& dims, uint32_t type,
                      uint64_t offset, size_t data_bytes) {
  return GgufBytes(1, 0)
      .Tensor("w", dims, type, offset)
      .Pad()
      .Zeros(data_bytes);
}

// Two F32 tensors of 4 values (16 bytes, padded to 32) with these offsets.
std::string TwoTensors(uint64_t a, uint64_t b, size_t data_bytes) {
  return GgufBytes(2, 0)
      .Tensor("a", {4}, kF32, a)
      .Tensor("b", {4}, kF32, b)
      .Pad()
      .Zeros(data_bytes);
}

std::vector<Case> HeadCases() {
  const std::string good = GgufBytes(0, 0);
  const auto version = [](uint32_t number) -> std::string {
    return GgufBytes().Raw("GGUF").U32(number).U64(0).U64(0);
  };
  return {
      {"Empty", "", "0 bytes are left"},
      {"ThreeBytes", "GGU", "3 bytes are left"},
      {"MagicOnly", "GGUF", "0 bytes are left"},
      {"EndsInsideTheCounts", good.substr(0, 23), "7 bytes are left"},
      {"OldMagic", "ggjt" + good.substr(4), "begins with \"ggjt\""},
      {"MagicBackwards", "FUGG" + good.substr(4), "not a GGUF file"},
      {"Zip", std::string("PK\x03\x04", 4) + good.substr(4), "not a GGUF"},
      {"VersionZero", version(0), "version 0"},
      {"VersionOne", version(1), "version 1"},
      {"VersionFour", version(4), "version 4"},
      {"VersionAllOnes", version(0xFFFFFFFF), "version 4294967295"},
      {"BigEndian", version(3u << 24), "big-endian"},
      {"LyingTensorCount", GgufBytes(1, 0), "hold at most 0"},
      {"LyingKeyCount", GgufBytes(0, 1), "hold at most 0"},
      {"TensorCountNegative", GgufBytes(~uint64_t{0}, 0),
       "18446744073709551615 tensors"},
      {"KeyCountNegative", GgufBytes(0, ~uint64_t{0}),
       "18446744073709551615 keys"},
      {"TensorCountTimesSizeWraps", GgufBytes((uint64_t{1} << 61) + 1, 0),
       "at most"},
      {"KeyCountTimesSizeWraps", GgufBytes(0, (uint64_t{1} << 60) + 1),
       "at most"},
      {"TensorCountBeyondCap",
       GgufBytes(kMaxTensorsPerModel + 1, 0).Zeros(kMaxTensorsPerModel * 25),
       "1048577 tensors"},
      {"KeyCountBeyondCap",
       GgufBytes(0, kMaxGgufKeys + 1).Zeros(kMaxGgufKeys * 14), "65537 keys"},
  };
}

std::vector<Case> KeyCases() {
  const std::string long_key(kMaxGgufKeyBytes + 1, 'k');
  return {
      {"KeyEmpty", GgufBytes(0, 1).Key("", kU8).U8(0), "is empty"},
      {"KeyLengthLying", GgufBytes(0, 1).U64(100).Zeros(20), "100 bytes"},
      {"KeyLengthWraps", GgufBytes(0, 1).U64(~uint64_t{0}).Zeros(20),
       "18446744073709551615 bytes"},
      {"KeyBeyondCap", GgufBytes(0, 1).Key(long_key, kU8).U8(0),
       "65536 bytes; at most 65535"},
      {"KeyWithNul", GgufBytes(0, 1).Key({"a\0b", 3}, kU8).U8(0), "NUL"},
      {"KeyNotUtf8", GgufBytes(0, 1).Key("\xC3\x28", kU8).U8(0), "UTF-8"},
      {"KeyTwice", GgufBytes(0, 2).Key("a", kU8).U8(0).Key("a", kU32).U32(0),
       "key \"a\": is there twice"},
      {"TypeUnknown", OneKey(13).Zeros(8), "type 13"},
      {"TypeNegative", OneKey(0xFFFFFFFF).Zeros(8), "type -1"},
      {"ValueMissing", GgufBytes(0, 1).Text("a.b").U32(kU8).Raw(""),
       "0 bytes are left"},
      {"ValueCutOff", OneKey(kU32).U8(1), "1 bytes are left"},
      {"BoolOfTwo", OneKey(kBool).U8(2), "the bool 2"},
      {"StringLengthLying", OneKey(kString).U64(5).Raw("four"), "5 bytes"},
      {"StringLengthPlusOneWraps", OneKey(kString).U64(~uint64_t{0}).Zeros(64),
       "18446744073709551615 bytes"},
      {"StringLengthTwoTo63", OneKey(kString).U64(uint64_t{1} << 63).Zeros(64),
       "9223372036854775808 bytes"},
      {"StringBeyondReferenceCap",
       OneKey(kString).U64((uint64_t{1} << 30) + 1).Zeros(64), "1073741825"},
  };
}

std::vector<Case> ArrayCases() {
  return {
      {"ArrayTypeUnknown", OneArray(13, 0), "type 13"},
      {"ArrayTypeNegative", OneArray(0xFFFFFFFF, 0), "type -1"},
      {"ArrayNested", OneArray(kArray, 1).U32(kU8).U64(1).U8(0),
       "array of arrays"},
      {"ArrayNestedThousandfold",
       [] {
         GgufBytes bytes = OneKey(kArray);
         for (int i = 0; i < 1000; ++i) bytes.U32(kArray).U64(1);
         return std::string(bytes.U32(kU8).U64(0));
       }(),
       "array of arrays"},
      {"ArrayCountLying", OneArray(kU32, 3).U32(1).U32(2), "3 elements"},
      {"ArrayCountLyingByOneByte", OneArray(kU8, 3).U8(1).U8(2), "3 elements"},
      {"ArrayCountTimesSizeWraps",
       OneArray(kU32, (uint64_t{1} << 62) + 1).Zeros(64), "elements"},
      {"ArrayCountAllOnes", OneArray(kU8, ~uint64_t{0}).Zeros(64),
       "18446744073709551615 elements"},
      {"ArrayBeyondReferenceCap",
       OneArray(kU8, (uint64_t{1} << 30) + 1).Zeros(64), "1073741825"},
      {"ArrayOfStringsLying", OneArray(kString, 9).Zeros(64), "9 strings"},
      {"ArrayOfStringsWraps", OneArray(kString, uint64_t{1} << 61).Zeros(64),
       "strings"},
      {"ArrayOfStringsLyingInside",
       OneArray(kString, 2).Text("a").U64(1000).Zeros(10),
       "element 1: 1000 bytes"},
      {"ArrayOfBoolsLying", OneArray(kBool, 65).Zeros(64), "65 elements"},
      {"ArrayOfBoolsWithATwo", OneArray(kBool, 2).U8(1).U8(2),
       "element 1: is the bool 2"},
  };
}

std::vector<Case> AlignmentCases() {
  const auto aligned = [](uint32_t type, uint64_t value) -> std::string {
    return GgufBytes(0, 1).Key("general.alignment", type).U64(value);
  };
  return {
      {"AlignmentZero", aligned(kU32, 0), "power of two"},
      {"AlignmentOdd", aligned(kU32, 33), "power of two"},
      {"AlignmentTwoTo31", aligned(kU32, uint64_t{1} << 31), "power of two"},
      {"AlignmentOfTypeI32", aligned(kI32, 32), "is i32; u32 is needed"},
      {"AlignmentOfTypeU64", aligned(10, 32), "is u64; u32 is needed"},
      {"AlignmentOfTypeString",
       GgufBytes(0, 1).Key("general.alignment", kString).Text("32"),
       "is string; u32 is needed"},
      {"AlignmentOfTypeArray",
       GgufBytes(0, 1)
           .Key("general.alignment", kArray)
           .U32(kU32)
           .U64(1)
           .U32(32),
       "is array of u32; u32 is needed"},
  };
}

std::vector<Case> TensorCases() {
  const auto named = [](absl::string_view name) -> std::string {
    return GgufBytes(1, 0).Tensor(name, {4}, kF32, 0).Pad().Zeros(32);
  };
  return {
      {"TensorNameEmpty", named(""), "name is empty"},
      {"TensorNameOf64Bytes", named(std::string(64, 'w')), "64 bytes"},
      {"TensorNameWithNul", named({"a\0b", 3}), "NUL"},
      {"TensorNameNotUtf8", named("\xFF"), "UTF-8"},
      {"TensorNameLengthLying", GgufBytes(1, 0).U64(1000).Zeros(60),
       "1000 bytes"},
      {"TensorTwice",
       GgufBytes(2, 0)
           .Tensor("w", {4}, kF32, 0)
           .Tensor("w", {4}, kF32, 32)
           .Pad()
           .Zeros(64),
       "\"w\": is there twice"},
      {"FiveDimensions", OneTensor({1, 1, 1, 1, 1}, kF32, 0, 32),
       "5 dimensions"},
      {"RankAllOnes", GgufBytes(1, 0).Text("w").U32(0xFFFFFFFF).Zeros(60),
       "4294967295 dimensions"},
      {"DimensionZero", OneTensor({0}, kF32, 0, 32), "at least 1"},
      {"DimensionZeroOfRows", OneTensor({32, 0}, kQ4_0, 0, 32), "at least 1"},
      {"DimensionNegative", OneTensor({~uint64_t{0}}, kF32, 0, 32),
       "[-1]: every dimension"},
      {"ElementsWrapToZero",
       OneTensor({uint64_t{1} << 32, uint64_t{1} << 32}, kF32, 0, 32),
       "overflows"},
      {"ElementsWrapToFour",
       OneTensor({(uint64_t{1} << 62) + 1, 4}, kF32, 0, 32), "overflows"},
      {"ElementsFitAndBytesWrap", OneTensor({uint64_t{1} << 62}, kF16, 0, 32),
       "overflows"},
      // 34 bytes for 32 values: fewer than 2^63 values, more bytes.
      {"BlockBytesWrap", OneTensor({(uint64_t{1} << 63) - 32}, kQ8_0, 0, 32),
       "overflows"},
      {"BlockBytesOfFourDimensionsWrap",
       OneTensor({1 << 20, 1 << 20, 1 << 20, 4}, kF32, 0, 32), "overflows"},
      {"TypeRemoved", OneTensor({32}, 4, 0, 32), "type 4"},
      {"TypeRemoved31", OneTensor({32}, 31, 0, 32), "type 31"},
      {"TypeRemoved36", OneTensor({32}, 36, 0, 32), "type 36"},
      {"TypeBeyondTheTable", OneTensor({32}, 43, 0, 32), "type 43"},
      {"TypeNegative", OneTensor({32}, 0xFFFFFFFF, 0, 32), "type -1"},
      {"TypeNotRead", OneTensor({256}, 21, 0, 256), "IQ3_S",
       Reason::kUnsupported},
      {"RowIsNoMultipleOfTheBlock", OneTensor({33}, kQ4_0, 0, 64),
       "multiples of 32"},
      {"RowsTogetherAreButEachIsNot", OneTensor({16, 2}, kQ4_0, 0, 32),
       "multiples of 32"},
      {"RowOfASuperBlock", OneTensor({128, 2}, kQ4_K, 0, 160),
       "multiples of 256"},
      {"ScalarOfABlockType", OneTensor({}, kQ4_0, 0, 32), "multiples of 32"},
      {"EntryCutOff", GgufBytes(1, 0).Text("w").U32(1).U64(4).U32(kF32).U8(0),
       "1 bytes are left"},
  };
}

std::vector<Case> OffsetCases() {
  return {
      {"OffsetNotZero", OneTensor({4}, kF32, 32, 64), "has offset 32"},
      {"OffsetNegative", OneTensor({4}, kF32, ~uint64_t{31}, 64),
       "has offset 18446744073709551584"},
      {"OffsetNotAligned", TwoTensors(0, 16, 64), "has offset 16"},
      {"OffsetsWithAHole", TwoTensors(0, 64, 128), "has offset 64"},
      {"OffsetsOverlap", TwoTensors(0, 0, 64), "has offset 0"},
      {"OffsetsBackwards", TwoTensors(32, 0, 64), "has offset 32"},
      {"Truncated", OneTensor({4}, kF32, 0, 15), "truncated"},
      {"TruncatedToTheHead", OneTensor({4}, kF32, 0, 0), "truncated"},
      {"TruncatedBeforeThePadding", GgufBytes(1, 0).Tensor("w", {4}, kF32, 0),
       "truncated"},
      {"SecondTensorBeyondTheFile", TwoTensors(0, 32, 47), "truncated"},
      // A shape that claims more than the file has, as used to read a server's
      // memory through the model it makes.
      {"LyingShape", OneTensor({1 << 30}, kF32, 0, 32), "truncated"},
      {"RunningSumWraps",
       GgufBytes(3, 0)
           .Tensor("a", {uint64_t{1} << 60}, kF32, 0)
           .Tensor("b", {uint64_t{1} << 60}, kF32, uint64_t{1} << 62)
           .Tensor("c", {4}, kF32, uint64_t{1} << 63)
           .Pad()
           .Zeros(64),
       "truncated"},
      {"LastTensorNear63Bits",
       OneTensor({(uint64_t{1} << 61) - 1}, kF32, 0, 32), "truncated"},
      {"PaddingWraps", OneTensor({INT64_MAX}, 24, 0, 32), "beyond 2^63"},
  };
}

class HostileGgufTest : public testing::TestWithParam<Case> {};

TEST_P(HostileGgufTest, IsRefusedAndSaysWhy) {
  const Case& c = GetParam();
  TempDir dir;
  const std::string path = dir.Write("x.gguf", c.bytes);
  auto file = File::OpenRead(path);
  ASSERT_TRUE(file.ok());
  const auto header = ReadGgufHeader(*file);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(GetReason(header.status()), c.reason) << header.status();
  EXPECT_EQ(header.status().code(), c.reason == Reason::kUnsupported
                                        ? absl::StatusCode::kUnimplemented
                                        : absl::StatusCode::kDataLoss);
  const std::string message(header.status().message());
  EXPECT_THAT(message, HasSubstr(c.message));
  EXPECT_THAT(message, HasSubstr(path));
  EXPECT_LT(message.size(), 2000u);
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Head, HostileGgufTest, testing::ValuesIn(HeadCases()),
                         CaseName);
INSTANTIATE_TEST_SUITE_P(Keys, HostileGgufTest, testing::ValuesIn(KeyCases()),
                         CaseName);
INSTANTIATE_TEST_SUITE_P(Arrays, HostileGgufTest,
                         testing::ValuesIn(ArrayCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Alignment, HostileGgufTest,
                         testing::ValuesIn(AlignmentCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Tensors, HostileGgufTest,
                         testing::ValuesIn(TensorCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Offsets, HostileGgufTest,
                         testing::ValuesIn(OffsetCases()), CaseName);

}  // namespace
}  // namespace quant

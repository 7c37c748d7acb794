// Every safetensors file that must not be read, each with the words that tell
// its owner why.
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/container/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/container/model_files.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

struct Case {
  const char* name;
  std::string bytes;    // of the whole file
  const char* message;  // part of the error
  Reason reason = Reason::kModelMalformed;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.name;
  }
};

// One F32 tensor "w" with the given rest of the header.
std::string Entry(absl::string_view shape, absl::string_view offsets) {
  return absl::StrCat("\"w\":{\"dtype\":\"F32\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

std::string One(absl::string_view shape, absl::string_view offsets,
                int64_t data_bytes) {
  return SafetensorsBytes(absl::StrCat("{", Entry(shape, offsets), "}"),
                          data_bytes);
}

// Two U8 tensors "a" and "b" of 4 bytes with the given offsets.
std::string Two(absl::string_view a, absl::string_view b, int64_t data_bytes) {
  return SafetensorsBytes(
      absl::StrCat("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":",
                   a, "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],",
                   "\"data_offsets\":", b, "}}"),
      data_bytes);
}

std::string Nested(int depth) {
  return absl::StrCat("{\"w\":{\"x\":", std::string(depth, '['),
                      std::string(depth, ']'),
                      ",\"dtype\":\"F32\",\"shape\":[],"
                      "\"data_offsets\":[0,4]}}");
}

std::vector<Case> LengthCases() {
  std::string pickle = "\x80\x02}q\x01X\x06";
  pickle += std::string("\0\0\0", 3) + "weightq\x02K\x01s.";
  std::string zip = std::string("PK\x03\x04\x14\0\0\0", 8) + "archive/data.pkl";
  return {
      {"Empty", "", "has 0 bytes"},
      {"SevenBytes", "\x01\x02\x03\x04\x05\x06\x07", "has 7 bytes"},
      {"LengthOnly", LengthBytes(0), "header has 0 bytes"},
      {"LengthZero", SafetensorsBytes("", 4), "header has 0 bytes"},
      {"LengthTwoTo63", LengthBytes(uint64_t{1} << 63) + "{}",
       "9223372036854775808"},
      {"LengthAllOnes", LengthBytes(~uint64_t{0}) + "{}", "at most"},
      {"LengthWrapsWithTheEight", LengthBytes(~uint64_t{0} - 6) + "{}",
       "at most"},
      {"LengthBeyondFile", LengthBytes(3) + "{}", "has 3 bytes"},
      {"LengthBeyondCap", LengthBytes(kMaxSafetensorsHeaderBytes + 1) + "{}",
       "100000001"},
      {"Pickle", pickle, "pickle", Reason::kUnsafeFormat},
      {"PickleOfFourBytes", "\x80\x04N.", "pickle", Reason::kUnsafeFormat},
      {"Zip", zip, "zip", Reason::kUnsafeFormat},
      {"EmptyZip", "PK\x05\x06" + std::string(18, '\0'), "zip",
       Reason::kUnsafeFormat},
      // As a length, PK\3\4 is 67,324,752: a header so long would be allowed.
      {"ZipThatIsAlsoALength",
       std::string("PK\x03\x04\0\0\0\0", 8) + std::string(100, ' '), "zip",
       Reason::kUnsafeFormat},
      // A good file with an archive behind it, for readers that look there.
      {"ZipBehindTheTensors",
       One("[1]", "[0,4]", 4) + zip + "PK\x05\x06" + std::string(18, '\0'),
       "more bytes"},
  };
}

std::vector<Case> JsonCases() {
  return {
      {"NotJson", SafetensorsBytes("hello", 0), "not JSON"},
      {"NotClosed", SafetensorsBytes("{\"w\":{", 0), "not JSON"},
      {"List", SafetensorsBytes("[]", 0), "must be an object"},
      {"Number", SafetensorsBytes("3", 0), "must be an object"},
      {"Null", SafetensorsBytes("null", 0), "must be an object"},
      {"Blank", SafetensorsBytes("        ", 0), "not JSON"},
      {"TwoObjects", SafetensorsBytes("{}{}", 0), "not JSON"},
      {"TextBehind", SafetensorsBytes("{} x", 0), "not JSON"},
      {"NulPadding", SafetensorsBytes(std::string("{}\0\0\0\0\0\0", 8), 0),
       "byte 2"},
      {"NulHidesMore", SafetensorsBytes(std::string("{}\0{\"w\":1}", 10), 0),
       "byte 2"},
      {"ByteOrderMark", SafetensorsBytes("\xEF\xBB\xBF{}", 0), "byte order"},
      {"Comment", SafetensorsBytes("{/* */}", 0), "not JSON"},
      {"TrailingComma", SafetensorsBytes("{\"__metadata__\":{},}", 0),
       "not JSON"},
      {"NotUtf8InName", SafetensorsBytes("{\"\xC3\x28\":1}", 0), "not JSON"},
      {"NotUtf8Outside", SafetensorsBytes("\xFF{}", 0), "not JSON"},
      {"OverlongUtf8", SafetensorsBytes("{\"\xC0\xAF\":1}", 0), "not JSON"},
      {"LoneSurrogate", SafetensorsBytes("{\"\\ud800\":1}", 0), "not JSON"},
      {"DeepInAnUnknownField", SafetensorsBytes(Nested(70), 4), "nested"},
      {"MillionDeep", SafetensorsBytes(std::string(1'000'000, '['), 0),
       "must be an object"},
      {"MillionDeepInAnUnknownField",
       SafetensorsBytes("{\"w\":{\"x\":" + std::string(1'000'000, '['), 0),
       "nested"},
  };
}

std::vector<Case> FieldCases() {
  const auto raw = [](absl::string_view json) {
    return SafetensorsBytes(json, 4);
  };
  return {
      {"EntryIsNumber", raw("{\"w\":1}"), "the number 1"},
      {"EntryIsNull", raw("{\"w\":null}"), "null"},
      {"EntryIsList", raw("{\"w\":[\"F32\",[1],[0,4]]}"), "a list"},
      {"EntryIsEmpty", raw("{\"w\":{}}"), "dtype is missing"},
      {"NoShape", raw("{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}"),
       "shape is missing"},
      {"NoOffsets", raw("{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}"),
       "data_offsets is missing"},
      {"DtypeUnknown",
       raw("{\"w\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}"),
       "did you mean"},
      {"DtypeNumber", raw("{\"w\":{\"dtype\":32}}"), "must be a string"},
      {"ShapeNegative", One("[-1]", "[0,4]", 4), "the number -1"},
      {"ShapeMinusZero", One("[-0]", "[0,4]", 4), "the number -0"},
      {"ShapeFraction", One("[1.0]", "[0,4]", 4), "the number 1.0"},
      {"ShapeExponent", One("[1e0]", "[0,4]", 4), "the number 1e0"},
      {"ShapeBeyond63Bits", One("[9223372036854775808]", "[0,4]", 4),
       "9223372036854775808"},
      {"ShapeBeyond64Bits", One("[18446744073709551617]", "[0,4]", 4),
       "18446744073709551617"},
      {"ShapeText", One("[\"1\"]", "[0,4]", 4), "a string"},
      {"ShapeNested", One("[[1]]", "[0,4]", 4), "a list"},
      {"ShapeNumber", One("1", "[0,4]", 4), "the number 1"},
      {"RankBeyondCap", One("[1,1,1,1,1,1,1,1,1]", "[0,4]", 4), "dimensions"},
      {"OffsetsNegative", One("[1]", "[-4,0]", 4), "the number -4"},
      {"OffsetsFraction", One("[1]", "[0,4.5]", 4), "the number 4.5"},
      {"OffsetsOne", One("[1]", "[4]", 4), "1 numbers"},
      {"OffsetsThree", One("[1]", "[0,4,4]", 4), "more than two"},
      {"OffsetsText", One("[1]", "\"0,4\"", 4), "a string"},
      {"DuplicateTensor",
       raw("{" + Entry("[1]", "[0,4]") + "," + Entry("[1]", "[0,4]") + "}"),
       "twice"},
      {"DuplicateTensorEscaped",
       raw("{" + Entry("[1]", "[0,4]") +
           ",\"\\u0077\":{\"dtype\":\"F32\",\"shape\":[0],"
           "\"data_offsets\":[4,4]}}"),
       "twice"},
      {"DuplicateDtype",
       raw("{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],"
           "\"data_offsets\":[0,4]}}"),
       "dtype is there twice"},
      {"DuplicateShape",
       raw("{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],"
           "\"data_offsets\":[0,4]}}"),
       "shape is there twice"},
      {"DuplicateOffsets",
       raw("{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],"
           "\"data_offsets\":[0,4]}}"),
       "data_offsets is there twice"},
      {"DuplicateMetadata", raw("{\"__metadata__\":{},\"__metadata__\":{}}"),
       "twice"},
      {"DuplicateMetadataKey",
       raw("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}"), "twice"},
      {"MetadataNumber", raw("{\"__metadata__\":{\"a\":1}}"), "strings"},
      {"MetadataBool", raw("{\"__metadata__\":{\"a\":true}}"), "strings"},
      {"MetadataNull", raw("{\"__metadata__\":{\"a\":null}}"), "strings"},
      {"MetadataNested", raw("{\"__metadata__\":{\"a\":{}}}"), "strings"},
      {"MetadataList", raw("{\"__metadata__\":[\"a\"]}"), "strings"},
      {"MetadataText", raw("{\"__metadata__\":\"pt\"}"), "strings"},
      {"NameTooLong", raw("{\"" + std::string(2000, 'w') + "\":{}}"),
       "2000 bytes"},
  };
}

std::vector<Case> OffsetCases() {
  return {
      {"Truncated", One("[2]", "[0,8]", 7), "truncated"},
      {"TruncatedToNothing", One("[2]", "[0,8]", 0), "truncated"},
      {"TrailingByte", One("[2]", "[0,8]", 9), "1 more bytes"},
      {"DataWithoutTensors", SafetensorsBytes("{}", 1), "1 more bytes"},
      {"OutOfFile", One("[2]", "[1000000,1000008]", 8), "hole"},
      {"OffsetNear63Bits",
       One("[2]", "[9223372036854775799,9223372036854775807]", 8), "hole"},
      {"HoleAtTheStart", One("[1]", "[4,8]", 8), "hole"},
      {"HoleInTheMiddle", Two("[0,4]", "[5,9]", 9), "hole"},
      {"Overlap", Two("[0,4]", "[3,7]", 7), "inside of"},
      {"OverlapWrittenBackwards", Two("[3,7]", "[0,4]", 7), "inside of"},
      {"Alias", Two("[0,4]", "[0,4]", 4), "inside of"},
      {"EndBeforeBegin", One("[1]", "[4,0]", 4), "data_offsets are [4, 0]"},
      {"EmptyTensorInTheMiddleOfAnother",
       SafetensorsBytes("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],"
                        "\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\","
                        "\"shape\":[0],\"data_offsets\":[2,2]}}",
                        4),
       "inside of"},
      {"TooFewBytesForTheShape", One("[2]", "[0,4]", 4), "needs 8 bytes"},
      {"TooManyBytesForTheShape", One("[1]", "[0,8]", 8), "needs 4 bytes"},
      {"DtypeOfAnotherWidth",
       SafetensorsBytes("{\"w\":{\"dtype\":\"BF16\",\"shape\":[1],"
                        "\"data_offsets\":[0,4]}}",
                        4),
       "needs 2 bytes"},
      {"ProductWrapsToZero", One("[4294967296,4294967296]", "[0,0]", 0),
       "overflows"},
      {"ProductWrapsToFour", One("[4611686018427387905,4]", "[0,16]", 16),
       "overflows"},
      {"BitsWrap", One("[2305843009213693952]", "[0,0]", 0), "overflows"},
      {"HalfAByte",
       SafetensorsBytes("{\"w\":{\"dtype\":\"F4\",\"shape\":[3],"
                        "\"data_offsets\":[0,2]}}",
                        2),
       "whole bytes"},
  };
}

class HostileHeaderTest : public testing::TestWithParam<Case> {};

TEST_P(HostileHeaderTest, IsRefusedAndSaysWhy) {
  const Case& c = GetParam();
  TempDir dir;
  const std::string path = dir.Write("x.safetensors", c.bytes);
  auto file = File::OpenRead(path);
  ASSERT_TRUE(file.ok());
  const auto header = ReadSafetensorsHeader(*file);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(GetReason(header.status()), c.reason) << header.status();
  EXPECT_EQ(header.status().code(), c.reason == Reason::kUnsafeFormat
                                        ? absl::StatusCode::kFailedPrecondition
                                        : absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(header.status().message()), HasSubstr(c.message));
  EXPECT_THAT(std::string(header.status().message()), HasSubstr(path));
  EXPECT_LT(header.status().message().size(), 2000u);
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Length, HostileHeaderTest,
                         testing::ValuesIn(LengthCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Json, HostileHeaderTest,
                         testing::ValuesIn(JsonCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Field, HostileHeaderTest,
                         testing::ValuesIn(FieldCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Offset, HostileHeaderTest,
                         testing::ValuesIn(OffsetCases()), CaseName);

// A header of more than 100 MB in a file that really has them.
TEST(HostileHeaderTest, HeaderBeyondTheCapIsNotRead) {
  TempDir dir;
  auto file = File::OpenWrite(dir.File("x.safetensors"));
  ASSERT_TRUE(file.ok());
  const std::string head = LengthBytes(kMaxSafetensorsHeaderBytes + 1);
  ASSERT_TRUE(file->WriteAt(0, {reinterpret_cast<const uint8_t*>(head.data()),
                                head.size()})
                  .ok());
  ASSERT_TRUE(file->Truncate(int64_t{1} << 32).ok());
  const auto header = ReadSafetensorsHeader(*file);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(GetReason(header.status()), Reason::kModelMalformed);
}

TEST(HostileHeaderTest, EveryTruncationOfAGoodFileIsRefused) {
  const std::string good = Two("[0,4]", "[4,8]", 8);
  TempDir dir;
  for (size_t size = 0; size < good.size(); ++size) {
    auto file =
        File::OpenRead(dir.Write("x.safetensors", good.substr(0, size)));
    ASSERT_TRUE(file.ok());
    EXPECT_FALSE(ReadSafetensorsHeader(*file).ok()) << size;
  }
}

}  // namespace
}  // namespace quant

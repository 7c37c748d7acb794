// Every index that must not be followed.
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/container/model_reader.h"
#include "core/container/shard_index.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/container/model_files.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

struct Case {
  const char* name;
  std::string index;
  const char* message;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.name;
  }
};

std::string Map(absl::string_view entries) {
  return absl::StrCat("{\"weight_map\":{", entries, "}}");
}

std::vector<Case> Cases() {
  return {
      {"NotJson", "x", "not JSON"},
      {"Empty", "", "not JSON"},
      {"List", "[]", "found a list"},
      {"NoMap", "{\"metadata\":{}}", "no weight_map"},
      {"MapIsList", "{\"weight_map\":[]}", "found a list"},
      {"MapIsText", "{\"weight_map\":\"a\"}", "found a string"},
      {"MapIsNull", "{\"weight_map\":null}", "found null"},
      {"TwoMaps", "{\"weight_map\":{},\"weight_map\":{}}", "twice"},
      {"ValueIsNumber", Map("\"a\":1"), "the number 1"},
      {"ValueIsObject", Map("\"a\":{}"), "an object"},
      {"DuplicateTensor",
       Map("\"a\":\"one.safetensors\",\"a\":\"two.safetensors\""), "twice"},
      {"DuplicateTensorSameShard",
       Map("\"a\":\"one.safetensors\",\"a\":\"one.safetensors\""), "twice"},
      {"ParentFolder", Map("\"a\":\"../one.safetensors\""), "plain name"},
      {"Absolute", Map("\"a\":\"/one.safetensors\""), "plain name"},
      {"Subfolder", Map("\"a\":\"sub/one.safetensors\""), "plain name"},
      {"HiddenTurn", Map("\"a\":\"sub/../one.safetensors\""), "plain name"},
      {"EscapedSlash", Map("\"a\":\"..\\u002fone.safetensors\""), "plain name"},
      {"EscapedNul", Map("\"a\":\"one.safetensors\\u0000.safetensors\""),
       "plain name"},
      {"Dot", Map("\"a\":\".\""), "plain name"},
      {"DotDot", Map("\"a\":\"..\""), "plain name"},
      {"NoName", Map("\"a\":\"\""), "plain name"},
      {"OtherEnding", Map("\"a\":\"config.json\""), "plain name"},
      {"Pickle", Map("\"a\":\"pytorch_model.bin\""), "plain name"},
      {"LongName", Map("\"a\":\"" + std::string(300, 'x') + ".safetensors\""),
       "plain name"},
      {"LongTensorName",
       Map("\"" + std::string(2000, 'x') + "\":\"one.safetensors\""),
       "at most"},
      {"MissingShard",
       Map("\"a\":\"one.safetensors\",\"b\":\"three.safetensors\""),
       "three.safetensors is missing"},
      {"TensorNotInItsShard",
       Map("\"a\":\"one.safetensors\",\"b\":\"two.safetensors\","
           "\"bb\":\"two.safetensors\",\"c\":\"two.safetensors\""),
       "tensor \"c\""},
      {"TensorOfTheOtherShard",
       Map("\"a\":\"two.safetensors\",\"b\":\"one.safetensors\""),
       "tensor \"a\""},
      {"ShardTensorNotInTheIndex",
       Map("\"b\":\"two.safetensors\",\"a0\":\"one.safetensors\""),
       "tensor \"a\""},
      {"OnlyHalfTheShard", Map("\"b\":\"two.safetensors\""), "tensor \"bb\""},
      {"NestedTooDeep",
       "{\"metadata\":" + std::string(100, '[') + std::string(100, ']') + "}",
       "nested"},
  };
}

std::string OneByte(absl::string_view name) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"U8\",\"shape\":[1],");
}

class HostileIndexTest : public testing::TestWithParam<Case> {};

TEST_P(HostileIndexTest, IsRefusedAndSaysWhy) {
  TempDir dir;
  const std::string one =
      absl::StrCat("{", OneByte("a"), "\"data_offsets\":[0,1]}}");
  const std::string two =
      absl::StrCat("{", OneByte("b"), "\"data_offsets\":[0,1]},", OneByte("bb"),
                   "\"data_offsets\":[1,2]}}");
  dir.Write("one.safetensors", SafetensorsBytes(one, 1));
  dir.Write("m/one.safetensors", SafetensorsBytes(one, 1));
  dir.Write("m/sub/one.safetensors", SafetensorsBytes(one, 1));
  dir.Write("m/two.safetensors", SafetensorsBytes(two, 2));
  dir.Write("m/model.safetensors.index.json", GetParam().index);
  const auto model = OpenModel(dir.File("m"));
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(GetReason(model.status()), Reason::kModelMalformed);
  const std::string message(model.status().message());
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr("model.safetensors.index.json"));
  EXPECT_LT(message.size(), 2000u);
}

INSTANTIATE_TEST_SUITE_P(All, HostileIndexTest, testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(HostileIndexTest, ABrokenShardNamesItself) {
  TempDir dir;
  dir.Write("one.safetensors", LengthBytes(uint64_t{1} << 63));
  dir.Write("model.safetensors.index.json", Map("\"a\":\"one.safetensors\""));
  const auto model = OpenModel(dir.path());
  EXPECT_EQ(GetReason(model.status()), Reason::kModelMalformed);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("one.safetensors: the header has 9223372036854775808"));
}

TEST(HostileIndexTest, TooManyShards) {
  std::string entries;
  for (int64_t i = 0; i <= kMaxShardsPerModel; ++i) {
    absl::StrAppend(&entries, i == 0 ? "" : ",", "\"t", i, "\":\"s", i,
                    ".safetensors\"");
  }
  const auto index = ParseShardIndex(Map(entries));
  EXPECT_EQ(GetReason(index.status()), Reason::kModelMalformed);
}

TEST(ShardIndexTest, SortsTensorsAndShards) {
  const auto index =
      ParseShardIndex(Map("\"b\":\"z.safetensors\",\"a\":\"y.safetensors\","
                          "\"c\":\"z.safetensors\""));
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->shards,
            (std::vector<std::string>{"y.safetensors", "z.safetensors"}));
  EXPECT_EQ(index->tensors, (std::vector<std::pair<std::string, int>>{
                                {"a", 0}, {"b", 1}, {"c", 1}}));
}

}  // namespace
}  // namespace quant

#include "core/container/json_tree.h"

#include "core/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

TEST(JsonTree, KeepsEveryKindOfValue) {
  const std::string text =
      R"({"a": [1, -2, 1.5, true, null, "x", {}, []], "b": {"c": [[3]]}})";
  const auto tree = ParseJsonTree(text);
  ASSERT_TRUE(tree.ok()) << tree.status();
  EXPECT_EQ(*tree, nlohmann::json::parse(text));
  EXPECT_EQ(*ParseJsonTree("7"), 7);
  EXPECT_TRUE(ParseJsonTree("-7")->is_number_integer());
  EXPECT_EQ(*ParseJsonTree("18446744073709551615"), 18446744073709551615.0);
}

TEST(JsonTree, RefusesWhatATreeWouldHide) {
  for (const char* text :
       {R"({"a": 1, "a": 2})", R"({"b": {"a": 1, "a": 2}})", "1e999", "{", "",
        "[1,]", "{\"a\": 1} 2", "\"\xff\""}) {
    const auto tree = ParseJsonTree(text);
    EXPECT_EQ(GetReason(tree.status()), Reason::kModelMalformed) << text;
  }
}

TEST(JsonTree, StopsAtItsBudget) {
  EXPECT_TRUE(ParseJsonTree("[1,2,3]", 4).ok());
  EXPECT_THAT(ParseJsonTree("[1,2,3]", 3).status().message(),
              HasSubstr("too many values"));
  EXPECT_FALSE(ParseJsonTree("[[[[[]]]]]", 4).ok());
}

TEST(JsonTree, TakesOneValueAfterTheOther) {
  JsonTree tree;
  EXPECT_FALSE(tree.done());
  ASSERT_TRUE(tree.StartArray().ok());
  ASSERT_TRUE(tree.Integer(1).ok());
  EXPECT_FALSE(tree.done());
  ASSERT_TRUE(tree.EndArray().ok());
  EXPECT_TRUE(tree.done());
  EXPECT_EQ(tree.Take(), nlohmann::json::array({1}));
  EXPECT_FALSE(tree.done());
  ASSERT_TRUE(tree.String("x").ok());
  EXPECT_EQ(tree.Take(), "x");
}

}  // namespace
}  // namespace quant

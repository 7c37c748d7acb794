// Ids equal to those of the public packages, for every feature. The golden
// files and what made them: tests/golden/make_tokenizers.py.
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "core/base/digest.h"
#include "tests/core/tokenizer/tokenizer_cases.h"

namespace quant {
namespace {

using Json = nlohmann::json;

std::string DigestOf(const std::vector<int32_t>& ids) {
  return Sha256Hex({reinterpret_cast<const char*>(ids.data()),
                    ids.size() * sizeof(int32_t)});
}

void ExpectIds(const Tokenizer& tokenizer, const Json& golden) {
  const std::vector<std::string> lines =
      absl::StrSplit(GoldenFile("texts/nasty.txt"), '\n');
  ASSERT_EQ(lines.size(), golden["nasty"].size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(FramedIds(tokenizer, lines[i]),
              golden["nasty"][i].get<std::vector<int32_t>>())
        << lines[i];
  }
  for (const char* name : {"letters", "salad", "whitespace"}) {
    const std::vector<int32_t> ids =
        FramedIds(tokenizer, GoldenFile(std::string("texts/") + name + ".txt"));
    EXPECT_EQ(ids.size(), golden[name]["count"].get<size_t>()) << name;
    EXPECT_EQ(DigestOf(ids), golden[name]["sha256"].get<std::string>()) << name;
  }
}

TEST(GoldenTokenizerTest, JsonCasesHaveTheIdsOfTheTokenizersPackage) {
  const Json cases = GoldenJson("cases.json");
  const Json golden = GoldenJson("ids.json")["json"];
  EXPECT_GE(cases.size(), 48u);
  for (const auto& [name, c] : cases.items()) {
    SCOPED_TRACE(name);
    const auto tokenizer = MakeTokenizer(
        {.tokenizer_json = TokenizerText(c["base"].get<std::string>(),
                                         c["changes"], c["model"])});
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ExpectIds(**tokenizer, golden[name]);
  }
}

TEST(GoldenTokenizerTest, ModelsHaveTheIdsOfSentencePiece) {
  const Json models = GoldenJson("ids.json")["model"];
  EXPECT_FALSE(models.empty());
  for (const auto& [name, golden] : models.items()) {
    SCOPED_TRACE(name);
    const auto tokenizer = MakeTokenizer(
        {.tokenizer_model = GoldenFile("tokenizers/" + name + ".model"),
         .tokenizer_config = R"({"add_bos_token": false})"});
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ExpectIds(**tokenizer, golden);
  }
}

// What tokens stand for is the text again, where nothing was rewritten.
TEST(GoldenTokenizerTest, TextsOfTokensAreTheText) {
  const auto tokenizer =
      MakeTokenizer({.tokenizer_json = TokenizerText("bytes")});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const char* name : {"nasty", "letters", "salad", "whitespace"}) {
    const std::string text = GoldenFile(std::string("texts/") + name + ".txt");
    std::string joined;
    const auto encoding = (*tokenizer)->Encode(text);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    for (int32_t id : encoding->ids) {
      joined += (*tokenizer)->TextOf(id);
    }
    EXPECT_TRUE(joined == text) << name;
  }
}

}  // namespace
}  // namespace quant

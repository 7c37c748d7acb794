// What tokenizers refuse, and that hostile text costs them no more than other
// text. Ids are in golden_test.cc.
#include "core/tokenizer/tokenizer.h"

#include <string>
#include <utility>

#include "core/base/error.h"
#include "gmock/gmock.h"
#include "tests/core/tokenizer/tokenizer_cases.h"

namespace quant {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

absl::Status StatusOf(const Json& changes, const Json& model = Json::object()) {
  return MakeTokenizer(
             {.tokenizer_json = TokenizerText("bytes", changes, model)})
      .status();
}

TEST(TokenizerTest, RefusesWhatItDoesNotDoByName) {
  const std::pair<Json, const char*> cases[] = {
      {{{"normalizer", {{"type", "NFKCC"}}}},
       "normalizer \"NFKCC\" is not supported; nearest: NFKC"},
      {{{"normalizer", {{"type", "Precompiled"}}}}, "\"Precompiled\""},
      {{{"pre_tokenizer", {{"type", "BertPreTokenizer"}}}},
       "pre-tokenizer \"BertPreTokenizer\""},
      {{{"pre_tokenizer",
         {{"type", "Split"},
          {"pattern", {{"Regex", "\\bx"}}},
          {"behavior", "Isolated"}}}},
       "the escape"},
      {{{"pre_tokenizer",
         {{"type", "Split"},
          {"pattern", {{"Regex", "x"}}},
          {"behavior", "Isolate"}}}},
       "did you mean \"Isolated\""},
      {{{"post_processor", {{"type", "Templates"}}}}, "TemplateProcessing"}};
  for (const auto& [changes, what] : cases) {
    const absl::Status status = StatusOf(changes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
  EXPECT_THAT(
      std::string(StatusOf(Json::object(), {{"dropout", 0.1}}).message()),
      HasSubstr("dropout"));
  EXPECT_THAT(
      std::string(StatusOf(Json::object(), {{"type", "WordPiece"}}).message()),
      HasSubstr("WordPiece"));
}

TEST(TokenizerTest, RefusesBrokenFiles) {
  const Json deep = {
      {"type", "Sequence"},
      {"normalizers", Json(std::vector<Json>(70, Json{{"type", "NFC"}}))}};
  const std::pair<Json, Json> cases[] = {
      {{{"normalizer", 3}}, {}},
      {{{"normalizer", {{"type", "Sequence"}}}}, {}},
      {{{"normalizer", deep}}, {}},
      {{{"normalizer", {{"type", "Replace"}, {"pattern", "x"}}}}, {}},
      {{{"pre_tokenizer", {{"type", "ByteLevel"}, {"use_regex", 1}}}}, {}},
      {{{"post_processor", {{"type", "TemplateProcessing"}}}}, {}},
      {Json::object(), {{"merges", {"nosuch token"}}}},
      {Json::object(), {{"unk_token", "nosuch"}}},
      {{{"added_tokens", {{{"id", 5}, {"content", "<s>"}}}}}, {}}};
  for (const auto& [changes, model] : cases) {
    EXPECT_EQ(
        GetReason(StatusOf(changes, model.is_null() ? Json::object() : model)),
        Reason::kModelMalformed)
        << changes << model;
  }
  EXPECT_EQ(GetReason(MakeTokenizer({}).status()), Reason::kSourceMissing);
}

TEST(TokenizerTest, TextIsUtf8OrRefused) {
  const auto tokenizer =
      MakeTokenizer({.tokenizer_json = TokenizerText("bytes")});
  const auto encoding = (*tokenizer)->Encode("good \xED\xA0\x80");
  EXPECT_EQ(encoding.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(encoding.status().message()),
              HasSubstr("byte 5 is not UTF-8"));
  EXPECT_THAT((*tokenizer)->Encode("")->ids, IsEmpty());
}

TEST(TokenizerTest, UnknownCharactersAreCounted) {
  const auto tokenizer =
      MakeTokenizer({.tokenizer_json = TokenizerText(
                         "signs", Json::object(), {{"byte_fallback", false}})});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(
      (*tokenizer)->Encode("the \U0001D7D8\U0001D7D8 \U0001D7D8")->unknown, 3);
  EXPECT_EQ((*tokenizer)->Encode("the")->unknown, 0);
}

TEST(TokenizerTest, ConfigSaysWhatIsPutAroundATextAndBoundsIt) {
  const std::string json = TokenizerText("bytes");
  const auto frame = [&](const std::string& config) {
    return (*MakeTokenizer(
                {.tokenizer_json = json, .tokenizer_config = config}))
        ->frame();
  };
  EXPECT_THAT(frame("{}").before, IsEmpty());
  EXPECT_THAT(frame(R"({"add_bos_token": true, "bos_token": "<s>"})").before,
              ElementsAre(0));
  EXPECT_THAT(frame(R"({"add_eos_token": true,
                        "eos_token": {"content": "</s>"}})")
                  .after,
              ElementsAre(1));
  const auto nameless =
      MakeTokenizer({.tokenizer_json = json,
                     .tokenizer_config = R"({"add_bos_token": true})"});
  EXPECT_EQ(GetReason(nameless.status()), Reason::kModelMalformed);
}

// Quadratic time would take hours.
TEST(TokenizerTest, HostileTextTakesNoLonger) {
  for (const char* base : {"bytes", "signs"}) {
    const auto tokenizer =
        MakeTokenizer({.tokenizer_json = TokenizerText(base)});
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (const char* unit : {"a", "e\u0301", " ", "\n ", "!?", "the"}) {
      std::string text;
      while (text.size() < 1 << 20) text += unit;
      const auto encoding = (*tokenizer)->Encode(text);
      ASSERT_TRUE(encoding.ok()) << encoding.status();
      EXPECT_GT(encoding->ids.size(), 0u);
    }
  }
}

TEST(TokenizerTest, SentencePieceModelsThatAreNotDoneAreRefusedByName) {
  std::string bytes = GoldenFile("tokenizers/symbols.model");
  // A second trainer's message counts: model_type (3) = unigram (1).
  bytes += std::string("\x12\x02\x18\x01", 4);
  EXPECT_THAT(
      std::string(MakeTokenizer({.tokenizer_model = bytes}).status().message()),
      HasSubstr("unigram"));
  bytes = GoldenFile("tokenizers/symbols.model");
  // normalizer_spec (3): name (1) "nmt", precompiled_charsmap (2) "x".
  bytes += std::string("\x1A\x08\x0A\x03nmt\x12\x01x", 10);
  EXPECT_THAT(
      std::string(MakeTokenizer({.tokenizer_model = bytes}).status().message()),
      HasSubstr("\"nmt\""));
}

}  // namespace
}  // namespace quant

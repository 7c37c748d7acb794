#include "core/architecture/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/architecture/pre_tokenizers.h"
#include "core/base/error.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kTokenizer[] = R"({
  "version": "1.0", "truncation": {"max_length": 3}, "padding": null,
  "added_tokens": [{"id": 0, "content": "<s>", "special": true,
                    "lstrip": false},
                   {"id": 9, "content": "x\n", "special": false}],
  "normalizer": {"type": "Prepend", "prepend": "_"},
  "pre_tokenizer": null,
  "model": {"type": "BPE", "dropout": 0.5, "unk_token": "<unk>",
            "byte_fallback": true, "fuse_unk": true,
            "vocab": {"<s>": 0, "a": 1, "\u0120": 3, "b": 2},
            "merges": ["a b", ["ab", "c d"]], "extra": {"vocab": 1}}
})";

TEST(TokenizerJson, ReadsWhatMatters) {
  const auto tokenizer = ParseTokenizerJson(kTokenizer);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ASSERT_EQ(tokenizer->vocab.size(), 4u);
  EXPECT_EQ(tokenizer->vocab[2].text, "\u0120");
  EXPECT_EQ(tokenizer->vocab[2].id, 3);
  EXPECT_THAT(tokenizer->merges, ElementsAre("a b", "ab c\u0120d"));
  ASSERT_EQ(tokenizer->added.size(), 2u);
  EXPECT_TRUE(tokenizer->added[0].special);
  EXPECT_EQ(tokenizer->added[1].content, "x\n");
  EXPECT_EQ(tokenizer->unk_token, "<unk>");
  EXPECT_TRUE(tokenizer->byte_fallback);
  EXPECT_FALSE(tokenizer->ignore_merges);
  EXPECT_EQ(tokenizer->normalizer["type"], "Prepend");
  EXPECT_TRUE(tokenizer->pre_tokenizer.is_null());
}

TEST(TokenizerJson, RefusesWhatIsBroken) {
  const std::pair<const char*, const char*> rows[] = {
      {"", "not JSON"},
      {"7", "a number where none belongs"},
      {"[]", "an array where none belongs"},
      {"{}", "\"\""},
      {R"({"model": null})", "null where none belongs"},
      {R"({"model": {"type": "BPE", "vocab": {}}})", "no vocabulary"},
      {R"({"model": {"type": "BPE", "vocab": {"a": -1}}})",
       "a number where none belongs"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 1.5}}})", "a number"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 2097152}}})",
       "has id 2097152"},
      {R"({"model": {"type": "BPE", "vocab": {"a": {}}}})", "an object"},
      {R"({"model": {"vocab": {"a": 1}, "vocab": {"b": 1}}})", "stands twice"},
      {R"({"model": {"merges": ["ab"]}})", "is not \\\"left right"},
      {R"({"model": {"merges": [" b"]}})", "left right"},
      {R"({"model": {"merges": ["a b c"]}})", "left right"},
      {R"({"model": {"merges": [["a"]]}})", "no pair"},
      {R"({"model": {"merges": [["a", "b", "c"]]}})", "no pair"},
      {R"({"model": {"merges": [["a", ""]]}})", "left right"},
      {R"({"model": {"merges": [[["a"]]]}})", "an array"},
      {R"({"model": {"type": 1}})", "where none belongs"},
      {R"({"model": {"byte_fallback": "yes"}})", "where none belongs"},
      {R"({"added_tokens": [1]})", "a number"},
      {R"({"added_tokens": [{"content": "a"}]})", "has no \\\"id\\\""},
      {R"({"added_tokens": [{"id": 1}]})", "has no \\\"content\\\""},
      {R"({"added_tokens": [{"id": -1, "content": "a"}]})", "no id >= 0"},
      {R"({"normalizer": {"a": 1, "a": 2}})", "twice"},
  };
  for (const auto& [text, message] : rows) {
    const auto tokenizer = ParseTokenizerJson(text);
    EXPECT_FALSE(tokenizer.ok()) << text;
    std::string wanted = message;
    wanted.erase(std::remove(wanted.begin(), wanted.end(), '\\'), wanted.end());
    EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr(wanted))
        << text;
  }
}

TEST(TokenizerJson, RefusesOtherModels) {
  for (const char* text :
       {R"({"model": {"type": "Unigram", "vocab": [["a", -1.0]]}})",
        R"({"model": {"type": "WordPiece", "vocab": {"a": 1}}})"}) {
    EXPECT_EQ(GetReason(ParseTokenizerJson(text).status()),
              Reason::kUnsupported);
  }
}

// Regular expressions as the published files have them.
constexpr char kLlama3[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Json Bytes(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"use_regex", use_regex}};
}

Json SplitThenBytes(const char* regex, const char* behavior = "Isolated") {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"},
             {"pattern", {{"Regex", regex}}},
             {"behavior", behavior},
             {"invert", false}},
            Bytes(false)}}};
}

TEST(PreTokenizers, AreKnownByTheirSteps) {
  const std::tuple<Json, bool, const char*> rows[] = {
      {Bytes(true), false, "gpt-2"},
      {Bytes(true), true, "gpt-2"},
      {{{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Digits"}, {"individual_digits", true}}, Bytes(true)}}},
       false,
       "smollm"},
      {SplitThenBytes(kLlama3), true, "llama-bpe"},
      {SplitThenBytes(kLlama3), false, "dbrx"},
      {SplitThenBytes(kQwen2), false, "qwen2"},
  };
  for (const auto& [pre, ignore_merges, name] : rows) {
    TokenizerJson tokenizer;
    tokenizer.pre_tokenizer = pre;
    tokenizer.ignore_merges = ignore_merges;
    EXPECT_TRUE(IsByteLevel(tokenizer));
    const auto found = PreTokenizerName(tokenizer);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, name);
  }
}

TEST(PreTokenizers, UnknownOnesSayWhatToDo) {
  Json spaced = Bytes(true);
  spaced["add_prefix_space"] = true;
  for (const Json& pre :
       {Json(), spaced, SplitThenBytes("\\p{N}{1,2}"), Json::array(), Json(3),
        SplitThenBytes(kLlama3, "MergedWithNext"), Json{{"type", "Sequence"}},
        Json{{"type", "Sequence"}, {"pretokenizers", {1, nullptr}}},
        Json{{"type", "BertPreTokenizer"}}}) {
    TokenizerJson tokenizer;
    tokenizer.pre_tokenizer = pre;
    const auto found = PreTokenizerName(tokenizer);
    EXPECT_EQ(GetReason(found.status()), Reason::kUnsupported) << pre;
    EXPECT_THAT(std::string(found.status().message()),
                HasSubstr("\"ggml_pre\""));
  }
}

}  // namespace
}  // namespace quant

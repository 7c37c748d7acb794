#include "core/architecture/hf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/architecture/gguf_metadata.h"
#include "core/architecture/pre_tokenizers.h"
#include "core/base/error.h"
#include "tests/core/architecture/fake_decoders.h"
#include "tests/core/architecture/spm_bytes.h"

namespace quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// The keys of a small SentencePiece tokenizer.
std::vector<GgufKv> SpmKvs() {
  const std::string s = "\u2581";
  return {{"tokenizer.ggml.model", std::string("llama")},
          {"tokenizer.ggml.tokens",
           GgufArray(std::vector<std::string>{
               "<unk>", "<s>", "</s>", s, "t", "h", "e", "th", "the", s + "the",
               "he", s + s, "<|end|>", "tab", "[PAD14]"})},
          {"tokenizer.ggml.scores",
           GgufArray(std::vector<float>{0, 0, 0, -9, -9, -9, -9, -2, -1, -3, -4,
                                        0, -1000, 0, -10000})},
          {"tokenizer.ggml.token_type",
           GgufArray(std::vector<int32_t>{2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 3,
                                          4, 5})}};
}

std::vector<GgufKv> ByteKvs(const std::string& pre) {
  return {{"tokenizer.ggml.model", std::string("gpt2")},
          {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens",
           GgufArray(std::vector<std::string>{"a", "b", "ab", "<s>"})},
          {"tokenizer.ggml.token_type",
           GgufArray(std::vector<int32_t>{1, 1, 1, 3})},
          {"tokenizer.ggml.merges", GgufArray(std::vector<std::string>{"a b"})},
          {"tokenizer.ggml.bos_token_id", uint32_t{3}}};
}

void Set(std::vector<GgufKv>& kvs, const std::string& key, GgufValue value) {
  std::erase_if(kvs, [&](const GgufKv& kv) { return kv.key == key; });
  kvs.push_back({key, std::move(value)});
}

DecoderConfig Config(const std::string& name = "") {
  Json config = FakeConfig("LlamaForCausalLM");
  config["_name_or_path"] = name;
  return *ParseDecoderConfig(config.dump());
}

HfTokenizer Make(const std::vector<GgufKv>& kvs,
                 const DecoderConfig& config = Config()) {
  auto made = MakeHfTokenizer(kvs, config);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : HfTokenizer();
}

std::string TextOf(const HfTokenizer& made, const std::string& name) {
  for (const MadeFile& file : made.files) {
    if (file.name == name) return file.text;
  }
  return "";
}

Json JsonOf(const HfTokenizer& made, const std::string& name) {
  const std::string text = TextOf(made, name);
  EXPECT_FALSE(text.empty()) << name;
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

// What the converter makes of the files again.
std::vector<GgufKv> Again(const HfTokenizer& made, int64_t rows) {
  const auto files = ParseTokenizerFiles(
      {.tokenizer_json = TextOf(made, "tokenizer.json"),
       .tokenizer_model = TextOf(made, "tokenizer.model"),
       .tokenizer_config = TextOf(made, "tokenizer_config.json")});
  EXPECT_TRUE(files.ok()) << files.status();
  if (!files.ok()) return {};
  const auto kvs = GgufTokenizerKvs(*files, Config(), rows);
  EXPECT_TRUE(kvs.ok()) << kvs.status();
  return kvs.ok() ? *kvs : std::vector<GgufKv>();
}

void ExpectSame(const std::vector<GgufKv>& kvs, const char* key,
                const std::vector<GgufKv>& again) {
  const GgufValue* a = FindGgufValue(kvs, key);
  const GgufValue* b = FindGgufValue(again, key);
  ASSERT_NE(a, nullptr) << key;
  ASSERT_NE(b, nullptr) << key;
  EXPECT_TRUE(*a == *b) << key;
}

std::vector<int32_t> ArrayTypes(const std::vector<GgufKv>& kvs) {
  const auto types = GetGgufArray<int32_t>(kvs, "tokenizer.ggml.token_type");
  return types.ok() ? **types : std::vector<int32_t>();
}

TEST(HfTokenizer, MergesOfScores) {
  const Json json = JsonOf(Make(SpmKvs()), "tokenizer.json");
  const std::string s = "\u2581";
  EXPECT_THAT(
      json["model"]["merges"].get<std::vector<std::string>>(),
      ElementsAre(s + " " + s, "t he", "th e", "t h", s + " the", "h e"));
  EXPECT_EQ(json["model"]["vocab"].size(), 14u);  // no filler
  EXPECT_EQ(json["model"]["vocab"]["<|end|>"], 12);
  EXPECT_EQ(json["model"]["unk_token"], "<unk>");
  EXPECT_FALSE(json["model"]["byte_fallback"]);  // not all bytes have pieces
  EXPECT_EQ(json["normalizer"]["normalizers"][0]["type"], "Prepend");
  EXPECT_EQ(json["decoder"]["decoders"][3]["type"], "Strip");
  EXPECT_EQ(json["decoder"]["decoders"][1], Json({{"type", "ByteFallback"}}));
  std::vector<std::string> added;
  for (const Json& token : json["added_tokens"]) {
    added.push_back(absl::StrCat(token["content"].get<std::string>(),
                                 token["special"] ? "" : " plain"));
  }
  EXPECT_THAT(added,
              ElementsAre("<unk>", "<s>", "</s>", "<|end|>", "tab plain"));
  // SentencePiece models begin with a token.
  EXPECT_EQ(json["post_processor"]["single"][0]["SpecialToken"]["id"], "<s>");
  EXPECT_EQ(json["post_processor"]["pair"].size(), 4u);
  EXPECT_EQ(json["post_processor"]["special_tokens"]["<s>"]["ids"], Json({1}));
}

TEST(HfTokenizer, SentencePieceComesBack) {
  const std::vector<GgufKv> kvs = SpmKvs();
  const HfTokenizer made = Make(kvs);
  const auto model = ParseSpmModel(TextOf(made, "tokenizer.model"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(model->is_bpe);
  EXPECT_TRUE(model->add_dummy_prefix);
  EXPECT_EQ(model->bos, 1);
  EXPECT_EQ(model->pad, -1);
  EXPECT_EQ(model->pieces.size(), 15u);
  EXPECT_EQ(model->pieces[9].score, -3);
  const std::vector<GgufKv> again = Again(made, 15);
  for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.tokens",
                          "tokenizer.ggml.token_type"}) {
    ExpectSame(kvs, key, again);
  }
  EXPECT_TRUE(*GetGguf<bool>(again, "tokenizer.ggml.add_space_prefix"));
  EXPECT_TRUE(*GetGguf<bool>(again, "tokenizer.ggml.add_bos_token"));
}

TEST(HfTokenizer, WithoutTheSpaceBeforeText) {
  std::vector<GgufKv> kvs = SpmKvs();
  Set(kvs, "tokenizer.ggml.add_space_prefix", false);
  Set(kvs, "tokenizer.ggml.add_bos_token", false);
  const Json json = JsonOf(Make(kvs), "tokenizer.json");
  EXPECT_EQ(json["normalizer"]["type"], "Replace");
  EXPECT_EQ(json["decoder"]["decoders"].size(), 3u);
  EXPECT_TRUE(json["post_processor"].is_null());
}

TEST(HfTokenizer, EveryKnownWayToCutTextComesBack) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2",
                          "qwen35", "tekken", "gpt-4o"}) {
    SCOPED_TRACE(pre);
    const std::vector<GgufKv> kvs = ByteKvs(pre);
    const HfTokenizer made = Make(kvs);
    const std::vector<GgufKv> again = Again(made, 4);
    for (const char* key :
         {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
          "tokenizer.ggml.token_type", "tokenizer.ggml.merges",
          "tokenizer.ggml.bos_token_id"}) {
      ExpectSame(kvs, key, again);
    }
    const bool begins = *GetGguf<bool>(again, "tokenizer.ggml.add_bos_token");
    EXPECT_EQ(begins,
              std::string(pre) == "llama-bpe" || std::string(pre) == "tekken");
    const bool normalizes = std::string(pre).starts_with("qwen");
    EXPECT_EQ(made.notes.size(), normalizes ? 1u : 0u);
    EXPECT_TRUE(TextOf(made, "tokenizer.model").empty());
  }
}

TEST(HfTokenizer, WhatCanNotBeKnownIsSaid) {
  HfTokenizer made = Make(ByteKvs("falcon3"));
  EXPECT_TRUE(TextOf(made, "tokenizer.json").empty());
  ASSERT_EQ(made.notes.size(), 1u);
  EXPECT_THAT(made.notes[0], HasSubstr("\"falcon3\""));
  EXPECT_EQ(JsonOf(made, "tokenizer_config.json")["bos_token"], "<s>");

  made = Make(
      {{"tokenizer.ggml.model", std::string("bert")},
       {"tokenizer.ggml.tokens", GgufArray(std::vector<std::string>{"a"})}});
  EXPECT_TRUE(made.files.empty());
  EXPECT_THAT(made.notes[0], HasSubstr("bert"));
  made = Make({});
  EXPECT_THAT(made.notes[0], HasSubstr("no tokenizer"));

  std::vector<GgufKv> kvs = SpmKvs();
  Set(kvs, "tokenizer.ggml.scores",
      GgufArray(std::vector<float>(15, -1000.0f)));
  Set(kvs, "tokenizer.ggml.fim_pre_token_id", uint32_t{3});
  made = Make(kvs);
  ASSERT_EQ(made.notes.size(), 2u);
  EXPECT_THAT(made.notes[0], HasSubstr("all equal"));
  EXPECT_THAT(made.notes[1], HasSubstr("fim_pre_token_id"));
}

TEST(HfTokenizer, ConfigOfTheTokenizer) {
  std::vector<GgufKv> kvs = SpmKvs();
  Set(kvs, "tokenizer.ggml.padding_token_id", uint32_t{2});
  Set(kvs, "tokenizer.ggml.mask_token_id", uint32_t{99});  // beyond
  Set(kvs, "tokenizer.ggml.add_eos_token", true);
  Set(kvs, "tokenizer.chat_template", std::string("{{a}}"));
  HfTokenizer made = Make(kvs);
  Json config = JsonOf(made, "tokenizer_config.json");
  EXPECT_EQ(config["pad_token"], "</s>");
  EXPECT_EQ(config["unk_token"], "<unk>");
  EXPECT_FALSE(config.contains("mask_token"));
  EXPECT_TRUE(config["add_eos_token"]);
  EXPECT_EQ(config["chat_template"], "{{a}}");
  EXPECT_EQ(config["model_max_length"], 128);
  EXPECT_EQ(JsonOf(made, "tokenizer.json")["post_processor"]["single"].size(),
            3u);
  Set(kvs, "tokenizer.chat_template.tool_use", std::string("b"));
  Set(kvs, "tokenizer.chat_templates",
      GgufArray(std::vector<std::string>{"tool_use"}));
  made = Make(kvs);
  config = JsonOf(made, "tokenizer_config.json");
  EXPECT_EQ(config["chat_template"][1],
            Json({{"name", "tool_use"}, {"template", "b"}}));
  EXPECT_EQ(*GetGguf<std::string>(Again(made, 15),
                                  "tokenizer.chat_template.tool_use"),
            "b");
}

// As loaders do when the name says Phi-3.
TEST(HfTokenizer, Phi3sTokensTakeTheSpacesBehindThem) {
  for (const char* name : {"x/Phi-3-mini", "x/other"}) {
    const Json json = JsonOf(Make(SpmKvs(), Config(name)), "tokenizer.json");
    const bool phi = std::string(name) == "x/Phi-3-mini";
    for (const Json& token : json["added_tokens"]) {
      const bool strips =
          phi && (token["content"] == "<|end|>" || token["content"] == "</s>");
      EXPECT_EQ(token["rstrip"], strips) << token["content"];
    }
  }
}

TEST(HfTokenizer, TypesAreGuessedWhereThereAreNone) {
  std::vector<GgufKv> kvs = {
      {"tokenizer.ggml.model", std::string("llama")},
      {"tokenizer.ggml.tokens", GgufArray(std::vector<std::string>{
                                    "<unk>", "<s>", "</s>", "<0x41>", "a"})},
      {"tokenizer.ggml.scores", GgufArray(std::vector<float>(5))}};
  EXPECT_THAT(ArrayTypes(Again(Make(kvs), 5)), ElementsAre(2, 3, 3, 6, 1));
}

TEST(HfTokenizer, RefusesContradictions) {
  const auto reason = [](const std::vector<GgufKv>& kvs) {
    return GetReason(MakeHfTokenizer(kvs, Config()).status());
  };
  const auto texts = [](std::vector<std::string> list) {
    return GgufArray(std::move(list));
  };
  const std::pair<const char*, GgufValue> spm[] = {
      {"tokenizer.ggml.tokens", texts({})},
      {"tokenizer.ggml.tokens", texts({"a", "a"})},
      {"tokenizer.ggml.tokens", texts({"\xFF"})},
      {"tokenizer.ggml.tokens", uint32_t{1}},
      {"tokenizer.ggml.scores", GgufArray(std::vector<float>(14))},
      {"tokenizer.ggml.scores", GgufArray(std::vector<float>(15, NAN))},
      {"tokenizer.ggml.scores", GgufArray(std::vector<int32_t>(15))},
      {"tokenizer.ggml.token_type", GgufArray(std::vector<int32_t>(16))},
      {"tokenizer.ggml.bos_token_id", int32_t{1}},
      {"tokenizer.ggml.add_bos_token", uint32_t{1}},
      {"tokenizer.chat_template", std::string("\xFF")},
  };
  for (const auto& [key, value] : spm) {
    std::vector<GgufKv> kvs = SpmKvs();
    Set(kvs, key, value);
    EXPECT_EQ(reason(kvs), Reason::kModelMalformed) << key;
  }
  for (const char* merge : {"ab", " b", "a ", "a b c", "\xFF b"}) {
    std::vector<GgufKv> kvs = ByteKvs("gpt-2");
    Set(kvs, "tokenizer.ggml.merges", texts({merge}));
    EXPECT_EQ(reason(kvs), Reason::kModelMalformed) << merge;
  }
}

// Looking for the splits of pieces takes the square of their lengths.
TEST(HfTokenizer, PiecesThatAreTooLongAreRefused) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  for (int i = 0; i < 4; ++i) {
    tokens.push_back(std::string(40'000, static_cast<char>('a' + i)));
  }
  std::vector<GgufKv> kvs = SpmKvs();
  Set(kvs, "tokenizer.ggml.scores",
      GgufArray(std::vector<float>(tokens.size())));
  Set(kvs, "tokenizer.ggml.token_type",
      GgufArray(std::vector<int32_t>(tokens.size(), 1)));
  Set(kvs, "tokenizer.ggml.tokens", GgufArray(tokens));
  EXPECT_EQ(MakeHfTokenizer(kvs, Config()).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace quant

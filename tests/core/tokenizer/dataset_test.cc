#include "core/tokenizer/dataset.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "gmock/gmock.h"
#include "tests/core/base/temp_dir.h"
#include "tests/core/tokenizer/tokenizer_cases.h"

namespace quant {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Header(const std::string& json) {
  std::string out;
  for (int i = 0; i < 8; ++i) {
    out += static_cast<char>(json.size() >> (8 * i));
  }
  return out + json;
}

std::string Bytes(const std::vector<int32_t>& ids) {
  return {reinterpret_cast<const char*>(ids.data()),
          ids.size() * sizeof(int32_t)};
}

class DatasetTest : public testing::Test {
 protected:
  DatasetTest() {
    auto tokenizer =
        MakeTokenizer({.tokenizer_json = TokenizerText("bytes"),
                       .tokenizer_config =
                           R"({"add_bos_token": true, "bos_token": "<s>",
                 "add_eos_token": true, "eos_token": "</s>"})"});
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  absl::StatusOr<Dataset> Load(const std::string& name,
                               const std::string& bytes,
                               const DatasetOptions& options) {
    return LoadDataset(dir_.Write(name, bytes), tokenizer_.get(), options);
  }

  std::string ErrorOf(const std::string& name, const std::string& bytes,
                      const DatasetOptions& options) {
    const auto data = Load(name, bytes, options);
    EXPECT_EQ(data.status().code(), absl::StatusCode::kInvalidArgument)
        << data.status();
    return std::string(data.status().message());
  }

  std::vector<int32_t> IdsOf(const std::string& text) const {
    return tokenizer_->Encode(text)->ids;
  }

  TempDir dir_;
  std::unique_ptr<const Tokenizer> tokenizer_;
};

TEST_F(DatasetTest, TextIsFramedOncePackedAndCut) {
  std::vector<int32_t> ids = IdsOf("to be or not to be");
  ids.insert(ids.begin(), 0);
  ids.push_back(1);
  const auto data = Load("a.txt", "to be or not to be", {.sequence_length = 3});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->documents, 1);
  EXPECT_EQ(data->tokens, static_cast<int64_t>(ids.size()));
  EXPECT_EQ(data->sequences, static_cast<int64_t>(ids.size()) / 3);
  ids.resize(data->sequences * 3);
  EXPECT_EQ(data->ids, ids);
}

TEST_F(DatasetTest, LinesAreDocumentsOfTextOrMessages) {
  const std::string lines =
      "{\"text\": \"one\"}\r\n\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
      " {\"role\": \"assistant\", \"content\": \"b\"}], \"id\": 7}\n";
  const auto data =
      Load("a.jsonl", lines, {.sequence_length = 2, .bos = BosPolicy::kNone});
  ASSERT_TRUE(data.ok()) << data.status();
  std::vector<int32_t> ids = IdsOf("one");
  const auto more = IdsOf("user:\na\n\nassistant:\nb");
  ids.insert(ids.end(), more.begin(), more.end());
  EXPECT_EQ(data->documents, 2);
  EXPECT_EQ(data->tokens, static_cast<int64_t>(ids.size()));
  ids.resize(ids.size() / 2 * 2);
  EXPECT_EQ(data->ids, ids);
}

TEST_F(DatasetTest, ReadsNoMoreDocumentsThanItNeeds) {
  const auto data =
      Load("a.jsonl", "{\"text\": \"abcdefgh\"}\n{\"text\": \"b\"}\nbroken",
           {.sequence_length = 2, .max_sequences = 2});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->documents, 1);
  EXPECT_EQ(data->sequences, 2);
}

TEST_F(DatasetTest, EverySequenceMayBeginWithTheToken) {
  const auto data = Load("a.txt", "0123456789",
                         {.sequence_length = 4, .bos = BosPolicy::kSequence});
  ASSERT_TRUE(data.ok()) << data.status();
  const auto ids = IdsOf("0123456789");
  ASSERT_GE(data->sequences, 1);
  for (int64_t i = 0; i < data->sequences; ++i) {
    EXPECT_EQ(data->ids[i * 4], 0);
    for (int64_t k = 1; k < 4; ++k) {
      EXPECT_EQ(data->ids[i * 4 + k], ids[i * 3 + k - 1]);
    }
  }
}

TEST_F(DatasetTest, DigestIsThatOfTheCanonicalForm) {
  const auto data = Load("a.safetensors",
                         Header(R"({"input_ids":{"dtype":"I32","shape":[2,3],)"
                                R"("data_offsets":[0,24]}})") +
                             Bytes({1, 2, 3, 4, 5, 6}),
                         {.sequence_length = 2});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->ids, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(data->digest,
            Sha256Hex("quant-ids-v1 3 2\n" + Bytes({1, 2, 3, 4, 5, 6})));
}

TEST_F(DatasetTest, PaddingIsRefused) {
  const std::string json =
      R"({"input_ids":{"dtype":"I32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("attention_mask":{"dtype":"I32","shape":[1,2],"data_offsets":[8,16]}})";
  EXPECT_TRUE(Load("a.safetensors", Header(json) + Bytes({5, 6, 1, 1}),
                   {.sequence_length = 2})
                  .ok());
  EXPECT_THAT(ErrorOf("a.safetensors", Header(json) + Bytes({5, 6, 1, 0}),
                      {.sequence_length = 2}),
              HasSubstr("attention_mask"));
}

TEST_F(DatasetTest, SaysWhatIsWrongBeforeAnyWork) {
  const DatasetOptions two = {.sequence_length = 2};
  EXPECT_THAT(ErrorOf("a.txt", "", two), HasSubstr("a.txt: the text is empty"));
  EXPECT_THAT(ErrorOf("a.txt", " \n\n", two), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf("a.txt", std::string("PK\0\3", 4), two),
              HasSubstr("byte 2 is NUL: the file is binary"));
  EXPECT_THAT(ErrorOf("a.txt", "caf\xE9", two), HasSubstr("byte 3 is not"));
  EXPECT_THAT(ErrorOf("a.txt", "short", {.sequence_length = 512}),
              HasSubstr("a sequence has 512"));
  EXPECT_THAT(ErrorOf("a.jsonl", "{\"text\": \"x\"}\n{\"txt\": \"y\"}", two),
              HasSubstr("line 2"));
  EXPECT_THAT(ErrorOf("a.txt", "text", {.sequence_length = 1}),
              HasSubstr("sequence length: 1"));
  EXPECT_THAT(
      ErrorOf("a.txt", "some text", {.sequence_length = 2, .vocabulary = 3}),
      HasSubstr("the model has a vocabulary of 3"));
}

TEST_F(DatasetTest, TextOfUnknownCharactersIsRefused) {
  auto tokenizer = MakeTokenizer(
      {.tokenizer_json = TokenizerText("signs", nlohmann::json::object(),
                                       {{"byte_fallback", false}})});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  tokenizer_ = *std::move(tokenizer);
  std::string text;
  for (int i = 0; i < 50; ++i) text += "the \U0001D7D8 ";
  EXPECT_THAT(ErrorOf("a.txt", text, {.sequence_length = 2}),
              HasSubstr("50 characters are unknown"));
}

}  // namespace
}  // namespace quant

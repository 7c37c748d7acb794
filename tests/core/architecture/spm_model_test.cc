#include "core/architecture/spm_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "core/base/error.h"
#include "tests/core/architecture/spm_bytes.h"

namespace quant {
namespace {

using ::testing::HasSubstr;

TEST(SpmModel, ReadsPiecesAndSettings) {
  const std::string bytes =
      SpmPieceBytes("<unk>", 0, 2) + SpmPieceBytes("<s>", 0, 3) +
      SpmPieceBytes("\u2581the", -1.5f, 0) +  // type left out: normal
      SpmMessage(
          2, SpmNumber(3, 2) + SpmNumber(40, 5) + SpmNumber(43, ~uint64_t{0})) +
      SpmMessage(3, SpmMessage(1, "identity") + SpmNumber(3, 0));
  const auto model = ParseSpmModel(bytes);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->pieces.size(), 3u);
  EXPECT_EQ(model->pieces[0].type, TokenType::kUnknown);
  EXPECT_EQ(model->pieces[2].text, "\u2581the");
  EXPECT_EQ(model->pieces[2].score, -1.5f);
  EXPECT_EQ(model->pieces[2].type, TokenType::kNormal);
  EXPECT_TRUE(model->is_bpe);
  EXPECT_EQ(model->unk, 5);
  EXPECT_EQ(model->bos, 1);
  EXPECT_EQ(model->eos, 2);
  EXPECT_EQ(model->pad, -1);
  EXPECT_FALSE(model->add_dummy_prefix);
}

TEST(SpmModel, DefaultsAreThoseOfTheFormat) {
  const auto model = ParseSpmModel(SpmPieceBytes("a", 0, 1));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE(model->is_bpe);
  EXPECT_TRUE(model->add_dummy_prefix);
  EXPECT_EQ(model->unk, 0);
}

TEST(SpmModel, SkipsWhatItDoesNotKnow) {
  const std::string unknown = SpmNumber(200, 7) + SpmMessage(77, "x") +
                              std::string(
                                  "\x09"
                                  "12345678",
                                  9) +  // 64 bits
                              std::string(
                                  "\x15"
                                  "1234",
                                  5);  // 32 bits
  const auto model =
      ParseSpmModel(unknown + SpmPieceBytes("a", 0, 1) + unknown);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->pieces.size(), 1u);
}

TEST(SpmModel, RefusesBrokenBytes) {
  const std::string piece = SpmPieceBytes("abc", 1, 1);
  for (size_t size = 1; size < piece.size(); ++size) {
    EXPECT_FALSE(ParseSpmModel(piece.substr(0, size)).ok()) << size;
  }
  const std::pair<std::string, const char*> rows[] = {
      {"", "no pieces"},
      {SpmMessage(2, ""), "no pieces"},
      {"\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", "bytes are cut off"},
      {std::string(11, '\xFF'), "a tag is cut off"},
      {"\x0B", "unknown wire type"},
      {SpmPieceBytes("\xFF", 0, 1), "piece 0 is not UTF-8"},
      {SpmPieceBytes("a", std::numeric_limits<float>::quiet_NaN(), 1),
       "no finite score"},
      {SpmPieceBytes("a", 0, 7), "has type 7"},
      {SpmPieceBytes(std::string(70000, 'a'), 0, 1), "at most 65536 bytes"},
  };
  for (const auto& [bytes, message] : rows) {
    const auto model = ParseSpmModel(bytes);
    EXPECT_EQ(GetReason(model.status()), Reason::kModelMalformed);
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(message));
  }
}

TEST(SpmModel, Utf8) {
  for (const char* text : {"", "a", "\u00e9", "\u2581", "\U0001F600", "\uD7FF",
                           "\uE000", "\U0010FFFF"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const char* text :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
        "a\xE2\x96", "\xE2\x96\x41"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
}

}  // namespace
}  // namespace quant

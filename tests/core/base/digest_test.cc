#include "core/base/digest.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/core/base/temp_dir.h"

namespace quant {
namespace {

// The examples of FIPS 180-4.
constexpr char kOfEmpty[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kOfAbc[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kOfMillionA[] =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256Test, KnownAnswers) {
  EXPECT_EQ(Sha256Hex(""), kOfEmpty);
  EXPECT_EQ(Sha256Hex("abc"), kOfAbc);
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')), kOfMillionA);
}

TEST(Sha256Test, PiecesMakeTheWhole) {
  Sha256 sha;
  for (int i = 0; i < 1000; ++i) sha.Update(std::string(1000, 'a'));
  Sha256 moved = std::move(sha);
  EXPECT_EQ(moved.Finish(), kOfMillionA);
}

TEST(Sha256Test, OfFiles) {
  TempDir dir;
  EXPECT_EQ(*Sha256OfFile(dir.Write("empty", "")), kOfEmpty);
  EXPECT_EQ(*Sha256OfFile(dir.Write("a", std::string(1'000'000, 'a'))),
            kOfMillionA);
  // More than one chunk.
  const std::string big(3'000'001, 'b');
  EXPECT_EQ(*Sha256OfFile(dir.Write("b", big)), Sha256Hex(big));
  EXPECT_FALSE(Sha256OfFile(dir.File("none")).ok());
}

TEST(Sha256Test, KnowsItsSpelling) {
  EXPECT_TRUE(IsSha256Hex(kOfAbc));
  EXPECT_FALSE(IsSha256Hex(""));
  EXPECT_FALSE(IsSha256Hex(std::string(63, 'a')));
  EXPECT_FALSE(IsSha256Hex(std::string(65, 'a')));
  EXPECT_FALSE(IsSha256Hex(std::string(64, 'A')));
  EXPECT_FALSE(IsSha256Hex(std::string(64, 'g')));
}

// Of the empty input, from the XXH3 specification.
TEST(Xxh3Test, KnownAnswers) {
  EXPECT_EQ(Xxh3({}), 0x2d06800538d394c2u);
  EXPECT_EQ(Xxh3Hex(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_NE(Xxh3Hex("a"), Xxh3Hex("b"));
}

TEST(Xxh3Test, PiecesHashAsTheWhole) {
  const std::string text(1000, 'x');
  const absl::Span<const uint8_t> bytes(
      reinterpret_cast<const uint8_t*>(text.data()), text.size());
  Xxh3Stream stream;
  EXPECT_EQ(stream.Hex(), Xxh3Hex(""));
  stream.Update(bytes.first(1));
  EXPECT_EQ(stream.Hex(), Xxh3Hex("x"));
  stream.Update(bytes.subspan(1));
  EXPECT_EQ(stream.Hex(), Xxh3Hex(text));
}

}  // namespace
}  // namespace quant

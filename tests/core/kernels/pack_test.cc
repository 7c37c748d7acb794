#include "core/kernels/pack.h"

#include <random>
#include <vector>

#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using PackTest = TargetTest;

std::vector<uint32_t> Words(const std::vector<uint8_t>& bytes) {
  std::vector<uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

std::vector<uint32_t> PackedRow(const std::vector<int8_t>& codes, int bits) {
  const int64_t n = static_cast<int64_t>(codes.size());
  std::vector<uint8_t> out(4 * PackedWords(n, bits), 0xAA);
  PackRows(codes.data(), 1, n, bits, out.data());
  return Words(out);
}

// Words computed by hand in the format's description.
TEST_P(PackTest, PacksTheWordsOfTheDescription) {
  EXPECT_EQ(PackedRow({-8, -7, -1, 0, 1, 2, 6, 7}, 4),
            std::vector<uint32_t>({0xFEA98710}));
  EXPECT_EQ(PackedRow({-128, -1, 0, 127}, 8),
            std::vector<uint32_t>({0xFF807F00}));
}

TEST_P(PackTest, PacksZeroPointsAlongTheOutputs) {
  const std::vector<int8_t> zeros = {-8, -7, -6, -5, -4, -3, -2, -1};
  std::vector<uint8_t> out(4, 0xAA);
  PackColumns(zeros.data(), 8, 1, 4, out.data());
  EXPECT_EQ(Words(out), std::vector<uint32_t>({0x76543210}));
}

// Values 0..31 of 3 bits fill three words; value 10 straddles the first two:
// bits 30 and 31 of word 0, bit 0 of word 1.
TEST_P(PackTest, ThreeBitValuesStraddleWords) {
  std::vector<int8_t> codes(32, -4);  // u = 0
  codes[10] = 3;                      // u = 7
  EXPECT_EQ(PackedRow(codes, 3),
            std::vector<uint32_t>({0xC0000000u, 0x00000001u, 0}));
  codes[10] = -4;
  codes[21] = 3;  // bits 63, 64, 65
  EXPECT_EQ(PackedRow(codes, 3),
            std::vector<uint32_t>({0, 0x80000000u, 0x00000003u}));
}

// Before version 0.17 of compressed-tensors: ten values of 3 bits to a word,
// the eleventh begins the next; the two bits above mean nothing.
TEST_P(PackTest, LooseWordsHoldWholeValues) {
  EXPECT_EQ(LooseWords(32, 3), 4);
  EXPECT_EQ(LooseWords(30, 3), 3);
  EXPECT_EQ(LooseWords(32, 5), 6);
  EXPECT_EQ(LooseWords(32, 7), 8);
  // u = 7 6 5 4 3 2 1 0 7 6 | 5, and the same with the unused bits set.
  const uint32_t first = 7u | 6u << 3 | 5u << 6 | 4u << 9 | 3u << 12 |
                         2u << 15 | 1u << 18 | 0u << 21 | 7u << 24 | 6u << 27;
  const std::vector<int8_t> codes = {3, 2, 1, 0, -1, -2, -3, -4, 3, 2, 1};
  for (uint32_t unused : {0u, 0xC0000000u}) {
    const uint32_t words[2] = {first | unused, 5u};
    const auto* bytes = reinterpret_cast<const uint8_t*>(words);
    std::vector<int8_t> back(11);
    UnpackLooseRows(bytes, 1, 11, 3, back.data());
    EXPECT_EQ(back, codes);
    UnpackLooseColumns(bytes, 11, 1, 3, back.data());
    EXPECT_EQ(back, codes);
  }
  // Two rows, and two columns whose words alternate.
  const uint32_t two[4] = {first, 5u, first, 2u};
  std::vector<int8_t> rows(22);
  UnpackLooseRows(reinterpret_cast<const uint8_t*>(two), 2, 11, 3, rows.data());
  EXPECT_EQ(rows[10], 1);
  EXPECT_EQ(rows[21], -2);
  const uint32_t across[4] = {first, first, 5u, 2u};
  UnpackLooseColumns(reinterpret_cast<const uint8_t*>(across), 11, 2, 3,
                     rows.data());
  EXPECT_EQ(rows[20], 1);
  EXPECT_EQ(rows[21], -2);
}

// Bit by bit, as the description says it.
std::vector<uint32_t> BitByBit(const int8_t* codes, int64_t n, int64_t stride,
                               int bits) {
  std::vector<uint32_t> words((n * bits + 31) / 32, 0);
  for (int64_t i = 0; i < n; ++i) {
    const int u = codes[i * stride] + (1 << (bits - 1));
    for (int b = 0; b < bits; ++b) {
      const int64_t bit = i * bits + b;
      words[bit / 32] |= static_cast<uint32_t>(u >> b & 1) << (bit % 32);
    }
  }
  return words;
}

std::vector<int8_t> RandomCodes(int64_t n, int bits, std::mt19937& random) {
  std::vector<int8_t> codes(n);
  for (int8_t& code : codes) {
    code = static_cast<int8_t>(static_cast<int>(random() % (1u << bits)) -
                               (1 << (bits - 1)));
  }
  return codes;
}

TEST_P(PackTest, RowsOfEveryWidthAndLengthAreTheDescribedBits) {
  std::mt19937 random(1);
  for (int bits = 2; bits <= 8; ++bits) {
    for (int64_t n : {1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 96, 100, 128, 256}) {
      const int64_t rows = 3, words = PackedWords(n, bits);
      const std::vector<int8_t> codes = RandomCodes(rows * n, bits, random);
      std::vector<uint8_t> out(4 * rows * words + 4, 0xAA);
      PackRows(codes.data(), rows, n, bits, out.data());
      for (int64_t r = 0; r < rows; ++r) {
        const auto expected = BitByBit(codes.data() + r * n, n, 1, bits);
        ASSERT_EQ(static_cast<int64_t>(expected.size()), words);
        ASSERT_EQ(
            std::memcmp(out.data() + 4 * r * words, expected.data(), 4 * words),
            0)
            << bits << " bits, " << n;
      }
      ASSERT_EQ(out[4 * rows * words], 0xAA) << "wrote past the end";
      std::vector<int8_t> back(rows * n);
      UnpackRows(out.data(), rows, n, bits, back.data());
      ASSERT_EQ(back, codes) << bits << " bits, " << n;
    }
  }
}

TEST_P(PackTest, ColumnsOfEveryWidthAndLengthAreTheDescribedBits) {
  std::mt19937 random(2);
  for (int bits = 2; bits <= 8; ++bits) {
    for (int64_t rows : {1, 7, 8, 31, 32, 33, 64, 100}) {
      const int64_t columns = 5, words = PackedWords(rows, bits);
      const std::vector<int8_t> codes =
          RandomCodes(rows * columns, bits, random);
      std::vector<uint8_t> out(4 * words * columns, 0xAA);
      PackColumns(codes.data(), rows, columns, bits, out.data());
      const std::vector<uint32_t> packed = Words(out);
      for (int64_t c = 0; c < columns; ++c) {
        const auto expected = BitByBit(codes.data() + c, rows, columns, bits);
        for (int64_t w = 0; w < words; ++w) {
          ASSERT_EQ(packed[w * columns + c], expected[w]) << bits;
        }
      }
      std::vector<int8_t> back(rows * columns);
      UnpackColumns(out.data(), rows, columns, bits, back.data());
      ASSERT_EQ(back, codes) << bits << " bits, " << rows;
    }
  }
}

QUANT_FOR_EACH_TARGET(PackTest);

}  // namespace
}  // namespace quant

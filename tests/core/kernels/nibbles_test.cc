#include "core/kernels/nibbles.h"

#include <random>
#include <vector>

#include "core/kernels/pack.h"
#include "core/kernels/transpose.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using NibblesTest = TargetTest;

std::vector<uint8_t> RandomCodes(int64_t n) {
  std::mt19937 random(static_cast<unsigned>(n));
  std::vector<uint8_t> codes(n);
  for (uint8_t& code : codes) code = random() & 15;
  return codes;
}

TEST_P(NibblesTest, PacksEveryLength) {
  for (int64_t n = 0; n <= 200; ++n) {
    const std::vector<uint8_t> codes = RandomCodes(n);
    for (NibbleOrder order :
         {NibbleOrder::kLowFirst, NibbleOrder::kHighFirst}) {
      std::vector<uint8_t> packed((n + 1) / 2 + 1, 99), back(n);
      PackPairs(codes.data(), n, order, packed.data());
      EXPECT_EQ(packed.back(), 99) << "wrote past the end";
      for (int64_t i = 0; i < n; ++i) {
        const bool low = (i % 2 == 0) == (order == NibbleOrder::kLowFirst);
        ASSERT_EQ((packed[i / 2] >> (low ? 0 : 4)) & 15, codes[i]) << n;
      }
      UnpackPairs(packed.data(), n, order, back.data());
      EXPECT_EQ(back, codes);
    }
  }
}

QUANT_FOR_EACH_TARGET(NibblesTest);

// compressed-tensors: (1.0, -0.5) are codes 2 and 9. bitsandbytes: (15, 7).
TEST(Nibbles, HandComputed) {
  uint8_t byte = 0;
  const uint8_t low[] = {2, 9}, high[] = {15, 7};
  PackPairs(low, 2, NibbleOrder::kLowFirst, &byte);
  EXPECT_EQ(byte, 0x92);
  PackPairs(high, 2, NibbleOrder::kHighFirst, &byte);
  EXPECT_EQ(byte, 0xF7);
}

TEST(Transpose, MovesEveryElementOnce) {
  for (int64_t rows : {8, 40, 64}) {
    for (int64_t cols : {1, 7, 33, 64}) {
      std::vector<uint8_t> in(4 * rows * cols), out(in.size());
      for (size_t i = 0; i < in.size(); ++i)
        in[i] = static_cast<uint8_t>(i * 7);
      TransposeWords(in.data(), rows, cols, out.data());
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          ASSERT_EQ(
              std::memcmp(&out[4 * (c * rows + r)], &in[4 * (r * cols + c)], 4),
              0);
        }
      }
      const RowOrder order = {0, 2, 4, 6, 1, 3, 5, 7};
      std::vector<int8_t> bytes(rows * cols), across(rows * cols),
          back(rows * cols);
      for (size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<int8_t>(i * 5);
      }
      TransposeBytes(bytes.data(), rows, cols, order, across.data());
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          ASSERT_EQ(across[c * rows + r],
                    bytes[(r / 8 * 8 + order[r % 8]) * cols + c]);
        }
      }
      UntransposeBytes(across.data(), rows, cols, order, back.data());
      EXPECT_EQ(back, bytes);
    }
  }
}

}  // namespace
}  // namespace quant

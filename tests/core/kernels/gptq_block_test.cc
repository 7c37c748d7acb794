#include "core/kernels/gptq_block.h"

#include <random>
#include <vector>

#include "core/kernels/reference.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using GptqBlockTest = TargetTest;

std::vector<float> Normal(int64_t n, float size, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, size);
  std::vector<float> out(n);
  for (float& x : out) x = normal(random);
  return out;
}

TEST_P(GptqBlockTest, IsItsTwinBitForBit) {
  std::mt19937 random(3);
  for (int bits : {2, 4, 8}) {
    const int half = 1 << (bits - 1);
    for (int64_t rows : {16, 32, 48, 64, 80, 128, 144}) {
      for (int64_t columns : {1, 2, 33, 128}) {
        constexpr int64_t kGroups = 3;
        const auto s = Normal(columns * (columns + 5), 0.3f, 1);
        const auto original = Normal(columns * rows, 1, 2);
        const auto w = Normal(columns * rows, 1, 3);
        std::vector<float> scales = Normal(kGroups * rows, 0.2f, 4);
        for (float& x : scales) x = 0.05f + x * x;
        std::vector<float> zeros(kGroups * rows);
        for (float& z : zeros) {
          z = static_cast<float>(static_cast<int>(random() % (2 * half)) -
                                 half);
        }
        std::vector<int32_t> groups(columns);
        for (int32_t& g : groups) g = static_cast<int32_t>(random() % kGroups);
        const GptqBlock block{.rows = rows,
                              .columns = columns,
                              .s = s.data(),
                              .s_stride = columns + 5,
                              .groups = groups.data(),
                              .scales = scales.data(),
                              .zeros = zeros.data(),
                              .q_min = -half,
                              .q_max = half - 1};
        std::vector<float> deltas(columns * rows), twin_deltas(columns * rows);
        std::vector<int8_t> codes(columns * rows), twin_codes(columns * rows);
        RunGptqBlock(block, original.data(), w.data(), deltas.data(),
                     codes.data());
        ReferenceGptqBlock(block, original.data(), w.data(), twin_deltas.data(),
                           twin_codes.data());
        ASSERT_EQ(codes, twin_codes) << rows << " x " << columns;
        ASSERT_EQ(std::memcmp(deltas.data(), twin_deltas.data(),
                              deltas.size() * sizeof(float)),
                  0)
            << rows << " x " << columns;
      }
    }
  }
}

// Two columns by hand: the first misses 0.3, of which the second takes half.
TEST_P(GptqBlockTest, ByHand) {
  constexpr int64_t kRows = kGptqRows;
  std::vector<float> w(2 * kRows, 1.3f);
  const std::vector<float> s = {0, 0, 0.5f, 0};
  const std::vector<int32_t> groups = {0, 0};
  const std::vector<float> scales(kRows, 1), zeros(kRows, 0);
  std::vector<float> deltas(2 * kRows);
  std::vector<int8_t> codes(2 * kRows);
  RunGptqBlock({.rows = kRows,
                .columns = 2,
                .s = s.data(),
                .s_stride = 2,
                .groups = groups.data(),
                .scales = scales.data(),
                .zeros = zeros.data(),
                .q_min = -8,
                .q_max = 7},
               w.data(), w.data(), deltas.data(), codes.data());
  EXPECT_EQ(codes[0], 1);
  EXPECT_NEAR(deltas[0], 0.3f, 1e-6f);
  EXPECT_EQ(codes[kRows], 1);  // 1.3 + 0.15
  EXPECT_NEAR(deltas[kRows], 0.3f, 1e-6f);
}

QUANT_FOR_EACH_TARGET(GptqBlockTest);

}  // namespace
}  // namespace quant

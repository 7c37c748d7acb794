#include "core/kernels/convert.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/tensor/float_formats.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using ConvertTest = TargetTest;

std::vector<uint16_t> AllCodes() {
  std::vector<uint16_t> codes(65536);
  for (int i = 0; i < 65536; ++i) codes[i] = static_cast<uint16_t>(i);
  return codes;
}

const uint8_t* Bytes(const void* data) {
  return static_cast<const uint8_t*>(data);
}

void ExpectAllCodes(DType dtype, float (*twin)(uint16_t)) {
  const std::vector<uint16_t> codes = AllCodes();
  std::vector<float> out(codes.size());
  EXPECT_FALSE(ConvertToF32(dtype, Bytes(codes.data()), 65536, out.data()));
  for (int i = 0; i < 65536; ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(out[i]),
              std::bit_cast<uint32_t>(twin(static_cast<uint16_t>(i))))
        << DTypeName(dtype) << " code " << i;
  }
}

TEST_P(ConvertTest, EveryF16CodeIsConvertedAsTheTwinDoes) {
  ExpectAllCodes(DType::kF16, F16ToF32);
}

TEST_P(ConvertTest, EveryBf16CodeIsConvertedAsTheTwinDoes) {
  ExpectAllCodes(DType::kBF16, Bf16ToF32);
}

// One value that is not finite, at every place of rows of every length around
// the vector sizes.
TEST_P(ConvertTest, FindsWhatIsNotFiniteAnywhere) {
  const auto check = [](DType dtype, auto one, auto bad) {
    for (int n = 1; n <= 66; ++n) {
      std::vector<decltype(one)> row(n, one);
      std::vector<float> out(n);
      EXPECT_TRUE(ConvertToF32(dtype, Bytes(row.data()), n, out.data()));
      EXPECT_TRUE(AllFinite(dtype, Bytes(row.data()), n));
      for (int at = 0; at < n; ++at) {
        row[at] = bad;
        EXPECT_FALSE(ConvertToF32(dtype, Bytes(row.data()), n, out.data()))
            << DTypeName(dtype) << " " << n << " " << at;
        EXPECT_FALSE(AllFinite(dtype, Bytes(row.data()), n));
        row[at] = one;
      }
    }
  };
  for (uint16_t bad : {0x7C00, 0xFC00, 0x7C01, 0xFFFF}) {
    check(DType::kF16, uint16_t{0x7BFF}, bad);
  }
  for (uint16_t bad : {0x7F80, 0xFF80, 0x7F81, 0xFFFF}) {
    check(DType::kBF16, uint16_t{0x7F7F}, bad);
  }
  for (uint32_t bad : {0x7F800000u, 0xFF800000u, 0x7F800001u, 0xFFFFFFFFu}) {
    check(DType::kF32, 0xFF7FFFFFu, bad);
  }
  check(DType::kF64, 1e38, 1e39);
  check(DType::kF64, -1.0, std::numeric_limits<double>::quiet_NaN());
}

TEST_P(ConvertTest, TakesAnyAlignment) {
  std::mt19937 random(1);
  std::vector<uint8_t> bytes(2 * 70 + 8);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  for (int shift = 0; shift < 4; ++shift) {
    for (int n = 0; n <= 66; ++n) {
      std::vector<float> out(n + 1, 42.0f);
      ConvertToF32(DType::kBF16, bytes.data() + shift, n, out.data());
      for (int i = 0; i < n; ++i) {
        uint16_t code;
        std::memcpy(&code, bytes.data() + shift + 2 * i, 2);
        ASSERT_EQ(std::bit_cast<uint32_t>(out[i]),
                  std::bit_cast<uint32_t>(Bf16ToF32(code)));
      }
      EXPECT_EQ(out[n], 42.0f) << "wrote past the end";
    }
  }
}

TEST_P(ConvertTest, F64IsRoundedToNearest) {
  const double values[] = {1.0 + 0x1p-24, 1.0 + 0x1.8p-23, -3.5, 1e-320};
  float out[4];
  EXPECT_TRUE(ConvertToF32(DType::kF64, Bytes(values), 4, out));
  EXPECT_EQ(out[0], 1.0f);  // a tie goes to even
  EXPECT_EQ(out[1], 1.0f + 0x1p-22f);
  EXPECT_EQ(out[2], -3.5f);
  EXPECT_EQ(out[3], 0.0f);
}

TEST_P(ConvertTest, GroupRangesAreExact) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(200);
  for (float& v : x) v = normal(random);
  for (int64_t n = 1; n <= 130; ++n) {
    for (int64_t group : {1, 3, 16, 17, 64, 128, 1000}) {
      const int64_t groups = (n + group - 1) / group;
      std::vector<float> lo(groups + 1, 42), hi(groups + 1, 42);
      GroupRanges(x.data() + n % 3, n, group, lo.data(), hi.data());
      for (int64_t g = 0; g < groups; ++g) {
        const float* begin = x.data() + n % 3 + g * group;
        const float* end = x.data() + n % 3 + std::min(n, (g + 1) * group);
        ASSERT_EQ(lo[g], *std::min_element(begin, end)) << n << " " << group;
        ASSERT_EQ(hi[g], *std::max_element(begin, end)) << n << " " << group;
      }
      EXPECT_EQ(lo[groups], 42);
      EXPECT_EQ(hi[groups], 42);
    }
  }
}

QUANT_FOR_EACH_TARGET(ConvertTest);

TEST(KernelTargets, ThereIsMoreThanOneAndForcingKeepsTheList) {
  const std::vector<std::string> targets = KernelTargets();
  ASSERT_FALSE(targets.empty());
#if defined(__x86_64__)
  EXPECT_GE(targets.size(), 2u);
#endif
  ForceKernelTarget(targets.back());
  ForceKernelTarget("");
  EXPECT_EQ(KernelTargets(), targets);
}

}  // namespace
}  // namespace quant

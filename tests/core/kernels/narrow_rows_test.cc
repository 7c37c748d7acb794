#include "core/kernels/narrow_rows.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "core/kernels/convert.h"
#include "core/tensor/float_formats.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using NarrowRowsTest = TargetTest;

uint16_t ToHalf(DType dtype, float value) {
  return dtype == DType::kF16 ? F32ToF16(value) : F32ToBf16(value);
}
float ToFloat(DType dtype, uint16_t code) {
  return dtype == DType::kF16 ? F16ToF32(code) : Bf16ToF32(code);
}
const uint8_t* Bytes(const uint16_t* x) {
  return reinterpret_cast<const uint8_t*>(x);
}

// Every finite code of the type, in random order, groups of any length.
std::vector<uint16_t> EveryFiniteCode(DType dtype) {
  const int infinity = dtype == DType::kF16 ? 0x7C00 : 0x7F80;
  std::vector<uint16_t> codes;
  for (int code = 0; code < infinity; ++code) {
    codes.push_back(static_cast<uint16_t>(code));
    codes.push_back(static_cast<uint16_t>(code | 0x8000));
  }
  std::shuffle(codes.begin(), codes.end(), std::mt19937(5));
  return codes;
}

TEST_P(NarrowRowsTest, RangesAreThoseOfTheFloats) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    const std::vector<uint16_t> codes = EveryFiniteCode(dtype);
    for (int64_t group : {1, 2, 7, 16, 33, 128, 1000}) {
      const int64_t n = static_cast<int64_t>(codes.size()) - group / 2;
      const int64_t groups = (n + group - 1) / group;
      std::vector<float> x(n), lo(groups), hi(groups), twin_lo(groups),
          twin_hi(groups);
      ASSERT_TRUE(ConvertToF32(dtype, Bytes(codes.data()), n, x.data()));
      GroupRanges(x.data(), n, group, twin_lo.data(), twin_hi.data());
      ASSERT_TRUE(NarrowGroupRanges(dtype, Bytes(codes.data()), n, group,
                                    lo.data(), hi.data()));
      for (int64_t g = 0; g < groups; ++g) {
        ASSERT_EQ(lo[g], std::min(twin_lo[g], 0.0f)) << group << " at " << g;
        ASSERT_EQ(hi[g], std::max(twin_hi[g], 0.0f)) << group << " at " << g;
      }
    }
  }
}

TEST_P(NarrowRowsTest, FindsWhatIsNotFiniteAnywhere) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    const uint16_t infinity = dtype == DType::kF16 ? 0x7C00 : 0x7F80;
    for (int n = 1; n <= 140; ++n) {
      std::vector<uint16_t> row(n, static_cast<uint16_t>(infinity - 1));
      std::vector<float> lo(n), hi(n);
      for (int at = 0; at < n; ++at) {
        for (uint16_t sign : {0x0000, 0x8000}) {
          for (uint16_t bits : {infinity, uint16_t{0x7FFF}}) {
            row[at] = bits | sign;
            EXPECT_FALSE(NarrowGroupRanges(dtype, Bytes(row.data()), n, 64,
                                           lo.data(), hi.data()))
                << n << " " << at;
          }
        }
        row[at] = infinity - 1;
      }
      EXPECT_TRUE(NarrowGroupRanges(dtype, Bytes(row.data()), n, 64, lo.data(),
                                    hi.data()));
    }
  }
}

// Rows of every length, scales from subnormal to enormous, against the way
// through floats on the same target, which has its own scalar twin.
TEST_P(NarrowRowsTest, CodesAndSumsAreThoseOfTheFloats) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    for (int64_t n : {1, 15, 16, 17, 64, 100, 128, 129, 256, 300, 700}) {
      for (float magnitude : {0x1p-132f, 0x1p-20f, 1.0f, 1000.0f, 0x1p115f}) {
        if (dtype == DType::kF16 && (magnitude < 1e-9f || magnitude > 1e4f)) {
          continue;
        }
        std::vector<uint16_t> source(n);
        std::vector<float> x(n);
        for (int64_t i = 0; i < n; ++i) {
          source[i] = ToHalf(dtype, normal(random) * magnitude);
          x[i] = ToFloat(dtype, source[i]);
        }
        const int64_t group = 1 + static_cast<int64_t>(random() % n);
        std::vector<float> scales(n);
        std::vector<int8_t> zeros(n);
        for (int64_t g = 0; g < n; ++g) {
          scales[g] = ToFloat(
              dtype, ToHalf(dtype, magnitude * (0.01f + 0.1f * (g % 7))));
          if (scales[g] == 0) scales[g] = magnitude;
          zeros[g] = static_cast<int8_t>(random());
        }
        IntRow row{.n = n,
                   .group = group,
                   .scales = scales.data(),
                   .zero_points = n % 2 ? zeros.data() : nullptr,
                   .q_min = -128,
                   .q_max = 127,
                   .narrow = true};
        std::vector<int8_t> codes(n + 1, 99), twin(n);
        LaneSums sums, twin_sums;
        EncodeNarrowIntRow(row, dtype, Bytes(source.data()), codes.data(),
                           sums);
        EncodeIntRow(row, x.data(), twin.data(), twin_sums);
        ASSERT_EQ(codes[n], 99) << "wrote past the end";
        codes.pop_back();
        ASSERT_EQ(codes, twin) << n << " " << group << " " << magnitude;
        ASSERT_TRUE(SameSums(sums, twin_sums)) << n << " " << magnitude;
      }
    }
  }
}

QUANT_FOR_EACH_TARGET(NarrowRowsTest);

}  // namespace
}  // namespace quant

// Scales of many ranges at once against one at a time, bit for bit, on every
// SIMD target.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/codec/codec.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using IntScalesTest = TargetTest;

struct Ranges {
  std::vector<float> lo, hi;
  void Add(float low, float high) {
    lo.push_back(low);
    hi.push_back(high);
  }
};

// All magnitudes, lopsided and one-sided ranges, exact multiples of the number
// of steps, and their neighbours.
Ranges HardRanges() {
  std::mt19937 random(9);
  std::uniform_real_distribution<float> uniform(0, 1);
  Ranges ranges;
  for (int exponent = -149; exponent <= 127; ++exponent) {
    for (int i = 0; i < 40; ++i) {
      const float size = std::ldexp(1 + uniform(random), exponent);
      const float other = std::ldexp(uniform(random), exponent - i % 70);
      ranges.Add(-size, other);
      ranges.Add(-other, size);
      ranges.Add(other / 2, size);  // beyond 0
      ranges.Add(-size, -other / 2);
    }
    for (int steps : {3, 7, 15, 31, 127, 255}) {
      const float exact = std::ldexp(static_cast<float>(steps), exponent - 8);
      const float inf = std::numeric_limits<float>::infinity();
      for (float edge : {exact, std::nextafter(exact, 0.0f),
                         std::min(std::nextafter(exact, inf), 3e38f)}) {
        ranges.Add(-edge, edge);
        ranges.Add(0, edge);
        ranges.Add(-edge, 0x1p-140f);
      }
    }
  }
  constexpr float kMax = std::numeric_limits<float>::max();
  ranges.Add(0, 0);
  ranges.Add(-0.0f, 0.0f);
  ranges.Add(-kMax, kMax);
  ranges.Add(-65504, 65504);
  return ranges;
}

TEST_P(IntScalesTest, ManyAtOnceAreLikeOneAtATime) {
  const Ranges ranges = HardRanges();
  const int64_t n = static_cast<int64_t>(ranges.lo.size());
  for (int bits = 2; bits <= 8; ++bits) {
    for (bool symmetric : {true, false}) {
      Scheme scheme = *FindScheme("W4A16");
      scheme.bits = bits;
      scheme.symmetric = symmetric;
      const auto codec = *MakeCodec(scheme);
      for (DType type : {DType::kBF16, DType::kF16, DType::kF32}) {
        std::vector<float> scales(n);
        std::vector<int8_t> zeros(n);
        codec->FromRanges(ranges.lo.data(), ranges.hi.data(), n, type,
                          scales.data(), symmetric ? nullptr : zeros.data());
        for (int64_t i = 0; i < n; ++i) {
          const ScaleZero twin =
              codec->FromRange(ranges.lo[i], ranges.hi[i], type);
          ASSERT_EQ(std::bit_cast<uint32_t>(scales[i]),
                    std::bit_cast<uint32_t>(twin.scale))
              << ranges.lo[i] << " " << ranges.hi[i] << " bits " << bits;
          if (symmetric) continue;
          ASSERT_EQ(zeros[i], twin.zero)
              << ranges.lo[i] << " " << ranges.hi[i] << " bits " << bits;
        }
      }
    }
  }
}

TEST_P(IntScalesTest, AnyNumberOfRangesIsTaken) {
  const auto codec = *MakeCodec(*FindScheme("W4A16_ASYM"));
  for (int64_t n = 0; n <= 19; ++n) {
    std::vector<float> lo(n + 1, -1.0f), hi(n + 1, 2.0f), scales(n + 1, 42.0f);
    std::vector<int8_t> zeros(n + 1, 42);
    codec->FromRanges(lo.data(), hi.data(), n, DType::kBF16, scales.data(),
                      zeros.data());
    const ScaleZero twin = codec->FromRange(-1.0f, 2.0f, DType::kBF16);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(scales[i], twin.scale);
      EXPECT_EQ(zeros[i], twin.zero);
    }
    EXPECT_EQ(scales[n], 42.0f) << "wrote past the end";
    EXPECT_EQ(zeros[n], 42);
  }
}

QUANT_FOR_EACH_TARGET(IntScalesTest);

// Zero points that are never the lowest code: the range is still covered, but
// for half a step at its ends.
TEST_P(IntScalesTest, ZeroPointsAboveTheLowest) {
  const Ranges ranges = HardRanges();
  const int64_t n = static_cast<int64_t>(ranges.lo.size());
  for (int bits : {2, 3, 4, 8}) {
    Scheme scheme = *FindScheme("W4A16_ASYM");
    scheme.bits = bits;
    const auto plain = *MakeCodec(scheme);
    scheme.zero_above_lowest = true;
    const auto codec = *MakeCodec(scheme);
    const int lowest = -(1 << (bits - 1)), highest = -lowest - 1;
    for (DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
      std::vector<float> scales(n);
      std::vector<int8_t> zeros(n);
      codec->FromRanges(ranges.lo.data(), ranges.hi.data(), n, type,
                        scales.data(), zeros.data());
      for (int64_t i = 0; i < n; ++i) {
        const float lo = ranges.lo[i], hi = ranges.hi[i];
        const ScaleZero before = plain->FromRange(lo, hi, type);
        ASSERT_GT(zeros[i], lowest) << lo << " " << hi;
        // What had such a zero point already, and room for it, stays.
        if (lo <= -hi / static_cast<float>((1 << bits) - 2)) {
          ASSERT_EQ(scales[i], before.scale) << lo << " " << hi;
          ASSERT_EQ(zeros[i], std::max<int>(before.zero, lowest + 1));
        }
        if (type == DType::kF16 && scales[i] == 65504) continue;  // saturated
        const double step = static_cast<double>(scales[i]) * (1 + 1e-6);
        ASSERT_GE((highest - zeros[i] + 0.5) * step, hi) << lo << " " << hi;
        ASSERT_LE((lowest - zeros[i] - 0.5) * step, lo) << lo << " " << hi;
      }
    }
  }
}

}  // namespace
}  // namespace quant

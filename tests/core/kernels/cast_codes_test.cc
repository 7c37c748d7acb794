#include "core/kernels/cast_codes.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/kernels/reference.h"
#include "core/tensor/float_formats.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using CastCodesTest = TargetTest;

void ExpectLikeTwin(HalfKind kind, const std::vector<float>& x) {
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<uint16_t> out(n + 1, 999), twin(n);
  LaneSums sums, twin_sums;
  EncodeHalfRow(kind, x.data(), n, out.data(), sums);
  ReferenceEncodeHalfRow(kind, x.data(), n, twin.data(), twin_sums);
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(out[i], twin[i]) << x[i] << " of " << n;
  }
  ASSERT_EQ(out[n], 999) << "wrote past the end";
  ASSERT_TRUE(SameSums(sums, twin_sums)) << n;
  ASSERT_EQ(sums.overflow, twin_sums.overflow) << n;
  ASSERT_EQ(sums.underflow, twin_sums.underflow) << n;
}

// All finite codes of a 16-bit type, midpoints and neighbours.
std::vector<float> CodesAndMidpoints(HalfKind kind) {
  std::vector<float> values;
  const bool f16 = kind == HalfKind::kF16;
  const int end = f16 ? 0x7C00 : 0x7F80;
  for (int code = 0; code + 1 < end; ++code) {
    const auto value = [&](int c) {
      return f16 ? F16ToF32(static_cast<uint16_t>(c))
                 : Bf16ToF32(static_cast<uint16_t>(c));
    };
    // Halved first: the sum may overflow.
    const float middle = value(code) / 2 + value(code + 1) / 2;
    for (float v : {value(code), middle, std::nextafter(middle, 0.0f),
                    std::nextafter(middle, 3e38f)}) {
      values.push_back(code % 2 == 0 ? v : -v);
    }
  }
  for (float v : {65504.0f, 65519.0f, 65520.0f, 65536.0f, 3.39e38f,
                  std::numeric_limits<float>::max()}) {
    values.push_back(v);
    values.push_back(-v);
  }
  return values;
}

TEST_P(CastCodesTest, F16EqualsItsTwinAtEveryCodeAndMidpoint) {
  ExpectLikeTwin(HalfKind::kF16, CodesAndMidpoints(HalfKind::kF16));
}

TEST_P(CastCodesTest, Bf16EqualsItsTwinAtEveryCodeAndMidpoint) {
  ExpectLikeTwin(HalfKind::kBF16, CodesAndMidpoints(HalfKind::kBF16));
}

TEST_P(CastCodesTest, EqualsItsTwinOnRandomBitsAtEveryLength) {
  std::mt19937 random(5);
  for (int n = 0; n <= 4 * kVirtualLanes + 1; ++n) {
    std::vector<float> x(n);
    for (float& v : x) {
      do {
        v = std::bit_cast<float>(static_cast<uint32_t>(random()));
      } while (!std::isfinite(v));
    }
    ASSERT_NO_FATAL_FAILURE(ExpectLikeTwin(HalfKind::kF16, x));
    ASSERT_NO_FATAL_FAILURE(ExpectLikeTwin(HalfKind::kBF16, x));
  }
}

QUANT_FOR_EACH_TARGET(CastCodesTest);

}  // namespace
}  // namespace quant

#include "core/kernels/fp8_codes.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/kernels/reference.h"
#include "core/tensor/float_formats.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using Fp8CodesTest = TargetTest;

void ExpectLikeTwin(const Fp8Row& row, const float* x) {
  std::vector<uint8_t> codes(row.n + 1, 99), twin(row.n);
  LaneSums sums, twin_sums;
  EncodeFp8Row(row, x, codes.data(), sums);
  ReferenceEncodeFp8Row(row, x, twin.data(), twin_sums);
  for (int64_t i = 0; i < row.n; ++i) {
    ASSERT_EQ(codes[i], twin[i])
        << "x " << x[i] << " scale " << row.scales[i / row.group];
  }
  ASSERT_EQ(codes[row.n], 99) << "wrote past the end";
  ASSERT_TRUE(SameSums(sums, twin_sums)) << row.n << " " << row.group;
  std::vector<float> out(row.n);
  DecodeFp8Row(row, codes.data(), out.data());
  for (int64_t i = 0; i < row.n; ++i) {
    const float value =
        row.kind == Fp8Kind::kE4M3 ? E4m3ToF32(twin[i]) : E5m2ToF32(twin[i]);
    ASSERT_EQ(out[i], value * row.scales[i / row.group]);
  }
}

// Every finite code, every midpoint of two codes, and the floats beside both.
std::vector<float> CodesAndMidpoints(Fp8Kind kind) {
  std::vector<float> values;
  const auto add = [&](float v) {
    for (float near : {v, std::nextafter(v, -1e9f), std::nextafter(v, 1e9f)}) {
      values.push_back(near);
      values.push_back(-near);
    }
  };
  const int last = kind == Fp8Kind::kE4M3 ? 0x7E : 0x7B;
  for (int code = 0; code <= last; ++code) {
    const auto value = [&](int c) {
      return kind == Fp8Kind::kE4M3 ? E4m3ToF32(static_cast<uint8_t>(c))
                                    : E5m2ToF32(static_cast<uint8_t>(c));
    };
    add(value(code));
    if (code < last) add((value(code) + value(code + 1)) / 2);
  }
  // Beyond the range: codes saturate.
  for (float v : {464.0f, 480.0f, 61440.0f, 65536.0f, 1e30f}) add(v);
  values.push_back(std::numeric_limits<float>::max());
  values.push_back(std::numeric_limits<float>::denorm_min());
  return values;
}

TEST_P(Fp8CodesTest, EqualsItsTwinAtEveryCodeAndMidpoint) {
  for (Fp8Kind kind : {Fp8Kind::kE4M3, Fp8Kind::kE5M2}) {
    const std::vector<float> x = CodesAndMidpoints(kind);
    const int64_t n = static_cast<int64_t>(x.size());
    for (float scale : {1.0f, 0.5f, 3.0f, 0.0123f, 1e-38f, 1e-42f, 1e30f}) {
      ASSERT_NO_FATAL_FAILURE(ExpectLikeTwin(
          {.n = n, .group = n, .scales = &scale, .kind = kind}, x.data()))
          << scale;
    }
  }
}

TEST_P(Fp8CodesTest, EqualsItsTwinAtEveryLength) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 60);
  for (int64_t n = 0; n <= 4 * kVirtualLanes + 1; ++n) {
    for (int64_t group : {1, 7, 16, 40, 100}) {
      std::vector<float> x(n + 1), scales(n / group + 1);
      for (float& v : x) v = normal(random);
      for (float& s : scales) s = std::fabs(normal(random)) / 60 + 0.01f;
      for (Fp8Kind kind : {Fp8Kind::kE4M3, Fp8Kind::kE5M2}) {
        ASSERT_NO_FATAL_FAILURE(ExpectLikeTwin(
            {.n = n, .group = group, .scales = scales.data(), .kind = kind},
            x.data() + (n > 0 ? n % 2 : 0)));
      }
    }
  }
}

QUANT_FOR_EACH_TARGET(Fp8CodesTest);

}  // namespace
}  // namespace quant

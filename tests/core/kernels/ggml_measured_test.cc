// Encoders that measure their errors find what decoding would find, bit by bit.
#include <random>
#include <vector>

#include "core/kernels/error_sums.h"
#include "core/kernels/ggml_blocks.h"
#include "tests/core/kernels/block_twins.h"
#include "tests/core/kernels/target_test.h"

namespace quant {
namespace {

using GgmlMeasuredTest = TargetTest;

std::vector<float> Weights(int64_t n) {
  std::mt19937 random(n);
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  for (int64_t i = 0; i < n; i += 41) x[i] *= 1e9f;  // scales saturate
  for (int64_t i = 64; i < 128; ++i) x[i] *= 1e-6f;  // and are subnormal
  for (int64_t i = 128; i < 160; ++i) x[i] = 0;
  return x;
}

LaneSums SumsOfDecoded(const GgmlKernels& kernels, const std::vector<float>& x,
                       const std::vector<uint8_t>& blocks) {
  std::vector<float> back(x.size());
  const int64_t n = static_cast<int64_t>(x.size());
  kernels.decode(blocks.data(), n, back.data());
  LaneSums sums;
  sums.noise[3] = 2;  // what was there before stays
  AddErrors(x.data(), back.data(), n, sums);
  return sums;
}

void ExpectSame(const LaneSums& found, const LaneSums& expected) {
  for (int i = 0; i < kVirtualLanes; ++i) {
    EXPECT_EQ(found.noise[i], expected.noise[i]) << i;
    EXPECT_EQ(found.signal[i], expected.signal[i]) << i;
  }
  EXPECT_EQ(found.max_abs_error, expected.max_abs_error);
}

TEST_P(GgmlMeasuredTest, AddsWhatDecodingWouldAdd) {
  int measured = 0;
  for (const GgmlType type : TwinTypes()) {
    const GgmlKernels kernels = GgmlKernelsOf(type);
    if (kernels.encode_measured == nullptr) continue;
    ++measured;
    for (const int64_t count : {7, 16, 37}) {
      SCOPED_TRACE(InfoOf(type).name);
      const int64_t n = count * InfoOf(type).block_elems;
      const std::vector<float> x = Weights(n);
      std::vector<uint8_t> alone(count * InfoOf(type).block_bytes);
      std::vector<uint8_t> blocks(alone.size());
      kernels.encode(x.data(), n, nullptr, SearchLevel::kDefault, alone.data());
      LaneSums sums;
      sums.noise[3] = 2;
      kernels.encode_measured(x.data(), n, nullptr, SearchLevel::kDefault,
                              blocks.data(), sums);
      EXPECT_EQ(blocks, alone);
      ExpectSame(sums, SumsOfDecoded(kernels, x, blocks));
    }
  }
  EXPECT_GE(measured, 3);
}

QUANT_FOR_EACH_TARGET(GgmlMeasuredTest);

}  // namespace
}  // namespace quant

// Legend: p significand bits (hidden bit included). decimal_digits is
// floor((p - 1) log10 2), as in <limits>.
#include "core/tensor/dtype_info.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace quant {
namespace {

constexpr NumberTypeInfo kTypes[] = {
    {"FP32", 32, 0x1.fffffep127, 0x1p-126, 0x1p-149, 6, 0x1p-23},
    {"BF16", 16, 0x1.fep127, 0x1p-126, 0x1p-133, 2, 0x1p-7},
    {"FP16", 16, 65504, 0x1p-14, 0x1p-24, 3, 0x1p-10},
    {"FP8_E4M3", 8, 448, 0x1p-6, 0x1p-9, 0, 0x1p-3},
    {"FP8_E5M2", 8, 57344, 0x1p-14, 0x1p-16, 0, 0x1p-2},
    {"INT8", 8, 127, 0, 1, 2, 1},
    {"INT4", 4, 7, 0, 1, 0, 1},
};

// Magnitude bits of float32, which order as the magnitudes do.
struct Thresholds {
  int32_t overflow;   // the least magnitude that rounds beyond the largest
  int32_t underflow;  // the greatest that rounds to zero
};

constexpr int32_t Bits(float value) { return std::bit_cast<int32_t>(value); }

// Indexed like kTypes. Halfway cases go to the even code: beyond the largest
// where that one is odd (BF16, FP16, E5M2, integers), not beyond it in E4M3;
// and to zero at half of the smallest.
constexpr Thresholds kThresholds[] = {
    {Bits(0x1.fffffep127f) + 1, 0},   {Bits(0x1.ffp127f), Bits(0x1p-134f)},
    {Bits(65520.0f), Bits(0x1p-25f)}, {Bits(464.0f) + 1, Bits(0x1p-10f)},
    {Bits(61440.0f), Bits(0x1p-17f)}, {Bits(127.5f), Bits(0.5f)},
    {Bits(7.5f), Bits(0.5f)},
};
static_assert(std::size(kTypes) == std::size(kThresholds));

// A fixed trip count, so that the loops vectorize at -O2 too. Zeros are no loss
// in any type: they fill up the last block.
constexpr size_t kBlock = 1024;

DtypeLoss CountBlock(const int32_t* magnitudes, Thresholds type) {
  int32_t overflow = 0;
  int32_t underflow = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const int32_t a = magnitudes[i];
    overflow += a >= type.overflow ? 1 : 0;
    underflow += (a <= type.underflow ? 1 : 0) & (a != 0 ? 1 : 0);
  }
  return {.overflow = overflow, .underflow = underflow};
}

}  // namespace

absl::Span<const NumberTypeInfo> NumberTypes() { return kTypes; }

void CountLosses(absl::Span<const float> values, absl::Span<DtypeLoss> losses) {
  alignas(64) int32_t magnitudes[kBlock];
  while (!values.empty()) {
    const size_t n = std::min(values.size(), kBlock);
    std::memcpy(magnitudes, values.data(), n * sizeof(float));
    std::fill(magnitudes + n, magnitudes + kBlock, 0);
    for (int32_t& magnitude : magnitudes) magnitude &= 0x7FFFFFFF;
    for (size_t type = 0; type < std::size(kThresholds); ++type) {
      const DtypeLoss loss = CountBlock(magnitudes, kThresholds[type]);
      losses[type].overflow += loss.overflow;
      losses[type].underflow += loss.underflow;
    }
    values.remove_prefix(n);
  }
}

}  // namespace quant

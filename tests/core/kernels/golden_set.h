// Weights that anyone can make again, and the errors of the reference
// quantizers on them.
//
// A linear congruential generator s <- 1664525 s + 1013904223 (mod 2^32) gives
// u = (s >> 8) / 2^24. Set 1: 32 rows of 1024 weights 0.02 (sum of 12 u - 6),
// from s = 12345. Set 2: the same, and one more u after each twelve: below
// 0.005 it makes the sum eight times as large. Importances, one per column:
// 0.05 + 4 u u, from s = 777.
#ifndef QUANT_TESTS_CORE_KERNELS_GOLDEN_SET_H_
#define QUANT_TESTS_CORE_KERNELS_GOLDEN_SET_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace quant {

inline constexpr int64_t kGoldenRows = 32;
inline constexpr int64_t kGoldenCols = 1024;

class GoldenRandom {
 public:
  explicit GoldenRandom(uint32_t seed) : state_(seed) {}
  double Next() {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) / 16777216.0;
  }

 private:
  uint32_t state_;
};

// `set` 1 or 2.
inline std::vector<float> GoldenWeights(int set) {
  GoldenRandom random(12345);
  std::vector<float> weights(kGoldenRows * kGoldenCols);
  for (float& weight : weights) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += random.Next();
    if (set == 2 && random.Next() < 0.005) sum *= 8;
    weight = static_cast<float>(0.02 * sum);
  }
  return weights;
}

inline std::vector<float> GoldenImportance() {
  GoldenRandom random(777);
  std::vector<float> importance(kGoldenCols);
  for (float& w : importance) {
    const double u = random.Next();
    w = static_cast<float>(0.05 + 4 * u * u);
  }
  return importance;
}

// The CRC-32 of zip files, over the bytes of the floats.
inline uint32_t Crc32(const std::vector<float>& values) {
  uint32_t crc = ~0u;
  for (const float value : values) {
    uint8_t bytes[4];
    std::memcpy(bytes, &value, 4);
    for (const uint8_t byte : bytes) {
      crc ^= byte;
      for (int bit = 0; bit < 8; ++bit) {
        crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
      }
    }
  }
  return ~crc;
}

// sqrt(sum w (x - y)^2 / sum w x^2); `importance` per column, or empty.
inline double RelativeRmse(const std::vector<float>& x,
                           const std::vector<float>& y,
                           const std::vector<float>& importance) {
  double noise = 0, signal = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = importance.empty() ? 1.0 : importance[i % kGoldenCols];
    const double miss = static_cast<double>(x[i]) - y[i];
    noise += w * miss * miss;
    signal += w * x[i] * x[i];
  }
  return std::sqrt(noise / signal);
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_KERNELS_GOLDEN_SET_H_

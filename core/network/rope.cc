#include "core/network/rope.h"

#include <algorithm>
#include <cmath>

namespace quant {
namespace {

constexpr double kTwoPi = 6.283185307179586;

// Long sequences stretch the base: theta' = theta (factor L / L0 - (factor -
// 1))^(D / (D - 2)) (bloc97, "Dynamic NTK", 2023).
double ThetaOf(const RopeSettings& config, int64_t positions) {
  const double dims = static_cast<double>(config.dims);
  if (config.kind != RopeKind::kDynamic || config.dims <= 2 ||
      positions <= config.original_positions) {
    return config.theta;
  }
  const double stretch = config.factor * static_cast<double>(positions) /
                             static_cast<double>(config.original_positions) -
                         (config.factor - 1);
  return config.theta * std::pow(stretch, dims / (dims - 2));
}

// Llama 3.1: long wavelengths are slowed by the factor, short ones stay, those
// between are blended.
double Llama3Frequency(const RopeSettings& config, double frequency) {
  const double wavelength = kTwoPi / frequency;
  const double original = static_cast<double>(config.original_positions);
  const double low = config.low_frequency_factor;
  const double high = config.high_frequency_factor;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / config.factor;
  const double smooth = (original / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / config.factor + smooth * frequency;
}

// YaRN (Peng et al., 2023): dimensions that turn more than beta_fast times over
// the original context stay, those that turn less than beta_slow times are
// slowed, a ramp lies between.
struct YarnRamp {
  double low;
  double high;

  explicit YarnRamp(const RopeSettings& config) {
    low = DimensionOf(config, config.beta_fast);
    high = DimensionOf(config, config.beta_slow);
    if (config.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(config.dims - 1));
    if (low == high) high += 0.001;
  }

  // How much of dimension j is slowed, 0 to 1.
  double At(int64_t j) const {
    return std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0);
  }

 private:
  static double DimensionOf(const RopeSettings& config, double turns) {
    return static_cast<double>(config.dims) *
           std::log(static_cast<double>(config.original_positions) /
                    (turns * kTwoPi)) /
           (2 * std::log(config.theta));
  }
};

}  // namespace

std::vector<double> RopeFrequencies(const RopeSettings& config,
                                    int64_t positions) {
  const double theta = ThetaOf(config, positions);
  const YarnRamp ramp(config);
  const auto& factors = positions > config.original_positions
                            ? config.long_factors
                            : config.short_factors;
  std::vector<double> frequencies(config.dims / 2);
  for (int64_t j = 0; j < config.dims / 2; ++j) {
    double f = std::pow(theta, -2.0 * static_cast<double>(j) /
                                   static_cast<double>(config.dims));
    switch (config.kind) {
      case RopeKind::kDefault:
      case RopeKind::kDynamic:
        break;
      case RopeKind::kLinear:
        f /= config.factor;
        break;
      case RopeKind::kLlama3:
        f = Llama3Frequency(config, f);
        break;
      case RopeKind::kYarn:
        f = f / config.factor * ramp.At(j) + f * (1 - ramp.At(j));
        break;
      case RopeKind::kLongrope:
        f /= factors[j];
        break;
    }
    frequencies[j] = f;
  }
  return frequencies;
}

RopeTable MakeRopeTable(const RopeSettings& config, int64_t positions) {
  const std::vector<double> frequencies = RopeFrequencies(config, positions);
  RopeTable table;
  table.half = config.dims / 2;
  table.cos.reserve(positions * table.half);
  table.sin.reserve(positions * table.half);
  for (int64_t t = 0; t < positions; ++t) {
    for (double f : frequencies) {
      const double angle = static_cast<double>(t) * f;
      table.cos.push_back(
          static_cast<float>(std::cos(angle) * config.attention_factor));
      table.sin.push_back(
          static_cast<float>(std::sin(angle) * config.attention_factor));
    }
  }
  return table;
}

void RopeTable::Rotate(int64_t t, float* head) const {
  const float* c = cos.data() + t * half;
  const float* s = sin.data() + t * half;
  for (int64_t j = 0; j < half; ++j) {
    const float a = head[j];
    const float b = head[j + half];
    head[j] = a * c[j] - b * s[j];
    head[j + half] = b * c[j] + a * s[j];
  }
}

}  // namespace quant

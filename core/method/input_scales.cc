#include "core/method/input_scales.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quant {

void MeansOfTied(absl::Span<const int32_t> ties, std::vector<double>& values) {
  std::vector<double> sums(values.size());
  std::vector<int64_t> counts(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    sums[ties[i]] += values[i];
    ++counts[ties[i]];
  }
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = sums[ties[i]] / static_cast<double>(counts[ties[i]]);
  }
}

void MaximaOfTied(absl::Span<const int32_t> ties, std::vector<double>& values) {
  std::vector<double> most(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    most[ties[i]] = std::max(most[ties[i]], values[i]);
  }
  for (size_t i = 0; i < values.size(); ++i) values[i] = most[ties[i]];
}

std::vector<float> CenteredFactors(const std::vector<double>& factors) {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  for (double factor : factors) {
    if (factor > 0) least = std::min(least, factor);
    most = std::max(most, factor);
  }
  std::vector<float> centered(factors.size(), 1.0f);
  const double middle = std::sqrt(least) * std::sqrt(most);
  if (!std::isfinite(middle) || middle <= 0) return centered;
  for (size_t i = 0; i < factors.size(); ++i) {
    const float factor = static_cast<float>(factors[i] / middle);
    if (factors[i] > 0 && std::isnormal(factor)) centered[i] = factor;
  }
  return centered;
}

}  // namespace quant

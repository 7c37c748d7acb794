#include "core/evaluate/distributions.h"

#include <algorithm>
#include <cmath>

namespace quant {

double LogSumExp(const float* logits, int64_t n) {
  const double most = *std::max_element(logits, logits + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(logits[i] - most);
  return most + std::log(sum);
}

double KlDivergence(const float* p, double p_log_sum, const float* q,
                    double q_log_sum, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double log_p = p[i] - p_log_sum;
    sum += std::exp(log_p) * (log_p - (q[i] - q_log_sum));
  }
  // Rounding may leave a little below zero where both are the same.
  return std::max(sum, 0.0);
}

int64_t ArgMax(const float* logits, int64_t n) {
  return std::max_element(logits, logits + n) - logits;
}

double Percentile(const std::vector<double>& sorted, double share) {
  const double count = static_cast<double>(sorted.size());
  const double rank = std::clamp(std::ceil(share * count), 1.0, count);
  return sorted[static_cast<size_t>(rank) - 1];
}

}  // namespace quant
